"""Train CNS Step on the full-size UNet: one instance and one prior image a step."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.performance.studio import Studio, concept, peak_memory, per_step, prior, seconds
from cns_core.comfy_adapter.page.training_progress import Display
from cns_core.comfy_adapter.teach import teach
from cns_core.config import TrainConfig


def measure(base: Path, pixels: int, steps: int, checkpointing: str = "off") -> dict[str, float]:
    """``step``: seconds once it runs; ``all``: seconds of one training with its set-up, loading apart; ``memory``: bytes."""
    studio = Studio.open(base)
    taught, priors = concept(pixels), prior(pixels)

    @torch.inference_mode()
    def train(count: int) -> None:
        config = TrainConfig(steps=count, resolution=pixels, gradient_checkpointing=checkpointing)
        teach(studio.model, studio.clip, studio.vae, taught, neurons, None, priors, "", 1, config, Display())

    with torch.inference_mode():
        neurons = studio.neurons(taught, calibration=4)
    train(2)
    step = per_step(train, 1, 1 + steps)
    return {"step": step, "all": seconds(lambda: train(steps)), "memory": peak_memory()}
