"""Training of one concept: draw a batch, predict its noise, move the selected neurons and the token's vectors."""

from .batches import TrainingSet
from .diffusion import Diffusion, EncodePrompts, PredictNoise, Start
from .loop import Observer, TrainingResult, train_concept
from .snapshot import Snapshot

__all__ = [
    "Diffusion",
    "EncodePrompts",
    "Observer",
    "PredictNoise",
    "Snapshot",
    "Start",
    "TrainingResult",
    "TrainingSet",
    "train_concept",
]
