"""What makes a training step fast, one thing at a time: the step without it, or with something more that was tried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch

from benchmarks.performance.studio import Studio, concept, per_step, prior, seconds
from cns_core.comfy_adapter import teach as teaching
from cns_core.comfy_adapter.checkpoint.conditioning import encode
from cns_core.comfy_adapter.checkpoint.latents import encode_images
from cns_core.comfy_adapter.page.training_progress import Display
from cns_core.config import TrainConfig

Predict = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def _two_passes(predict: Predict, *_: object) -> Predict:
    def separate(noisy: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        halves = zip(noisy.chunk(2), timesteps.chunk(2), context.chunk(2), strict=True)
        return torch.cat([predict(*half) for half in halves])

    return separate


def _nothing_cached(predict: Predict, studio: Studio, pixels: int) -> Predict:
    """Images through the VAE and the prior's prompt through the text encoder in every step."""
    images = (concept(pixels).images[0], prior(pixels).images[0])

    def encoding(*inputs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            encode_images(studio.model, studio.vae, images, pixels)
            encode(studio.clip, prior(pixels).prompts[0])
        return predict(*inputs)

    return encoding


def _compiled(predict: Predict, *_: object) -> Predict:
    return torch.compile(predict, dynamic=False)


_PREDICTIONS = {
    "an instance and a prior pass, not one": _two_passes,
    "nothing cached": _nothing_cached,
    "torch.compile": _compiled,
}


def measure(base: Path, pixels: int, steps: int, way: str) -> dict[str, float]:
    """``step``: seconds once it runs; ``first``: seconds of the first training of two steps, compiling included."""
    studio = Studio.open(base)
    taught, priors = concept(pixels), prior(pixels)
    original = teaching.train_concept

    def changed(**given: object) -> object:
        if way in _PREDICTIONS:
            given["predict_noise"] = _PREDICTIONS[way](given["predict_noise"], studio, pixels)
        return original(**given)

    @torch.inference_mode()
    def train(count: int) -> None:
        kept = "on" if way == "gradient checkpointing" else "off"
        config = TrainConfig(steps=count, resolution=pixels, gradient_checkpointing=kept)
        teaching.teach(studio.model, studio.clip, studio.vae, taught, neurons, None, priors, "", 1, config, Display())

    with torch.inference_mode():
        neurons = studio.neurons(taught, 4, "all K/V" if way.startswith("all K/V") else "concept")
        if way == "channels last":
            studio.model.model.diffusion_model.to(memory_format=torch.channels_last)
    with patch.object(teaching, "train_concept", changed):
        first = seconds(lambda: train(2))
        return {"first": first, "step": per_step(train, 1, 1 + steps)}
