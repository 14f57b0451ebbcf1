"""Training of one concept: draw a batch, predict its noise, move the selected neurons and the token's vectors."""

from .batches import TrainingSet
from .loop import Observer, TrainingResult, train_concept

__all__ = ["Observer", "TrainingResult", "TrainingSet", "train_concept"]
