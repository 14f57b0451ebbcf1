"""What makes a training step fast, one thing at a time: the step without it, or with something more that was tried."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import torch
from comfy.model_base import BaseModel

from benchmarks.performance.setting import concept, lesson, open_checkpoint, per_step, prior, seconds
from cns_core.comfy_adapter import teach as teaching
from cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from cns_core.comfy_adapter.checkpoint.conditioning import encode
from cns_core.comfy_adapter.checkpoint.latents import encode_images
from cns_core.comfy_adapter.page.training_progress import Display
from cns_core.config import TrainConfig
from cns_core.training import PredictNoise


def _two_passes(predict: PredictNoise, *_: object) -> PredictNoise:
    def separate(noisy: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        halves = zip(noisy.chunk(2), timesteps.chunk(2), context.chunk(2), strict=True)
        return torch.cat([predict(*half) for half in halves])

    return separate


def _nothing_cached(predict: PredictNoise, checkpoint: Checkpoint, pixels: int) -> PredictNoise:
    """Images through the VAE and the prior's prompt through the text encoder in every step."""
    images = (concept(pixels).images[0], prior(pixels).images[0])

    def encoding(*inputs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            encode_images(checkpoint, images, pixels)
            encode(checkpoint.clip, prior(pixels).prompts[0])
        return predict(*inputs)

    return encoding


def _compiled(predict: PredictNoise, *_: object) -> PredictNoise:
    return torch.compile(predict, dynamic=False)


_PREDICTIONS = {
    "an instance and a prior pass, not one": _two_passes,
    "nothing cached": _nothing_cached,
    "torch.compile": _compiled,
}


def measure(base: Path, pixels: int, steps: int, way: str) -> dict[str, float]:
    """``step``: seconds once it runs; ``first``: seconds of the first training of two steps, compiling included."""
    checkpoint = open_checkpoint(base)
    predicting = teaching.predict_noise

    def changed(base_model: BaseModel) -> PredictNoise:
        return _PREDICTIONS[way](predicting(base_model), checkpoint, pixels)

    @torch.inference_mode()
    def train(count: int) -> None:
        kept = "on" if way == "gradient checkpointing" else "off"
        config = TrainConfig(steps=count, resolution=pixels, gradient_checkpointing=kept)
        teaching.teach(checkpoint, taught, config, Display())

    with torch.inference_mode():
        taught = lesson(checkpoint, pixels, strategy="all K/V" if way.startswith("all K/V") else "concept")
        if way == "channels last":
            checkpoint.model.model.diffusion_model.to(memory_format=torch.channels_last)
    with patch.object(teaching, "predict_noise", changed if way in _PREDICTIONS else predicting):
        first = seconds(lambda: train(2))
        return {"first": first, "step": per_step(train, 1, 1 + steps)}
