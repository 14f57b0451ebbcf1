"""What makes a training step fast, one thing at a time: the step without it, or with something more that was tried."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from pathlib import Path
from unittest.mock import patch

import torch
from comfy.model_base import BaseModel

from benchmarks.performance.setting import concept, costs, lesson, open_checkpoint, prior, seconds
from cns_core.comfy_adapter import on_device
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


def _nothing_cached(predict: PredictNoise, checkpoint: Checkpoint, pixels: int, *_: object) -> PredictNoise:
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


class _Predicting(torch.nn.Module):
    """``predict`` as a module, so that whoever captures it knows which weights get gradients."""

    def __init__(self, predict: PredictNoise, unet: torch.nn.Module) -> None:
        super().__init__()
        self._predict, self._unet = predict, unet

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self._predict(*inputs)


def _graphed(predict: PredictNoise, checkpoint: Checkpoint, pixels: int, base: BaseModel) -> PredictNoise:
    """The UNet's forward and backward pass as CUDA graphs, captured for the shapes of the first step."""
    graphs: list[PredictNoise] = []

    def replayed(*inputs: torch.Tensor) -> torch.Tensor:
        if not graphs:
            samples = tuple(value.detach().clone().requires_grad_(value.requires_grad) for value in inputs)
            graphs.append(torch.cuda.make_graphed_callables(_Predicting(predict, base.diffusion_model), samples))
        return graphs[0](*inputs)

    return replayed


_PREDICTIONS = {
    "an instance and a prior pass, not one": _two_passes,
    "nothing cached": _nothing_cached,
    "torch.compile": _compiled,
    "CUDA graphs": _graphed,
}
_SWITCHES = {"inputs of frozen convolutions kept": (on_device, "lean_convolutions", lambda unet: nullcontext())}


def measure(base: Path, pixels: int, steps: int, way: str) -> dict[str, float]:
    """:func:`.costs`, and ``first``: seconds of the first training of two steps, compiling included."""
    checkpoint = open_checkpoint(base)
    predicting = teaching.predict_noise

    def changed(model: BaseModel) -> PredictNoise:
        return _PREDICTIONS[way](predicting(model), checkpoint, pixels, model)

    @torch.inference_mode()
    def train(count: int) -> None:
        kept = "on" if way == "gradient checkpointing" else "off"
        config = TrainConfig(steps=count, resolution=pixels, gradient_checkpointing=kept)
        teaching.teach(checkpoint, taught, config, Display())

    with torch.inference_mode():
        taught = lesson(checkpoint, pixels, strategy="all K/V" if way.startswith("all K/V") else "concept")
        if way == "channels last":
            checkpoint.model.model.diffusion_model.to(memory_format=torch.channels_last)
    patches = [(teaching, "predict_noise", changed)] if way in _PREDICTIONS else []
    with ExitStack() as stack:
        for patched in [*patches, *([_SWITCHES[way]] if way in _SWITCHES else [])]:
            stack.enter_context(patch.object(*patched))
        return {"first": seconds(lambda: train(2)), **costs(train, steps)}
