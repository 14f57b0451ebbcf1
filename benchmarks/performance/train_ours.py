"""Train CNS Step on the full-size UNet: one instance and one prior image a step."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.performance.setting import costs, lesson, open_checkpoint
from cns_core.comfy_adapter.page.training_progress import Display
from cns_core.comfy_adapter.teach import teach
from cns_core.config import TrainConfig


def measure(base: Path, pixels: int, steps: int, checkpointing: str = "off") -> dict[str, float]:
    checkpoint = open_checkpoint(base)

    @torch.inference_mode()
    def train(count: int) -> None:
        config = TrainConfig(steps=count, resolution=pixels, gradient_checkpointing=checkpointing)
        teach(checkpoint, taught, config, Display())

    with torch.inference_mode():
        taught = lesson(checkpoint, pixels)
    return costs(train, steps)
