"""What makes a training step fast, one thing at a time: the step without it, or with something more that was tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch
from comfy.model_base import BaseModel

from benchmarks.performance.setting import concept, costs, lesson, open_checkpoint, prior
from cns_core.comfy_adapter import teach as teaching
from cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from cns_core.comfy_adapter.checkpoint.conditioning import encode_all
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
            encode_all(checkpoint.clip, [prior(pixels).prompts[0]])
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


@dataclass(frozen=True)
class Way:
    """What one thing is, all else being as it is. ``prediction``: makes another one of the UNet's, for the checkpoint, the
    resolution and the model.
    """

    prediction: Callable[[PredictNoise, Checkpoint, int, BaseModel], PredictNoise] | None = None
    strategy: str = "concept"
    gradient_checkpointing: str = "off"
    channels_last: bool = False


AS_IT_IS = "as it is"
WAYS = {
    AS_IT_IS: Way(),
    "an instance and a prior pass, not one": Way(_two_passes),
    "nothing cached": Way(_nothing_cached),
    "all K/V trained, not the selected": Way(strategy="all K/V"),
    "gradient checkpointing": Way(gradient_checkpointing="on"),
    "channels last": Way(channels_last=True),
    "torch.compile": Way(_compiled),
    **({"CUDA graphs": Way(_graphed)} if torch.cuda.is_available() else {}),
}


def measure(base: Path, pixels: int, steps: int, way: str = AS_IT_IS) -> dict[str, float]:
    """:func:`.costs` of Train CNS Step, one thing changed."""
    checkpoint, chosen = open_checkpoint(base), WAYS[way]
    predicting = teaching.predict_noise

    def changed(model: BaseModel) -> PredictNoise:
        predict = predicting(model)
        return chosen.prediction(predict, checkpoint, pixels, model) if chosen.prediction else predict

    @torch.inference_mode()
    def train(count: int) -> None:
        config = TrainConfig(steps=count, resolution=pixels, gradient_checkpointing=chosen.gradient_checkpointing)
        teaching.teach(checkpoint, taught, config, Display())

    with torch.inference_mode():
        taught = lesson(checkpoint, pixels, chosen.strategy)
        if chosen.channels_last:
            checkpoint.model.model.diffusion_model.to(memory_format=torch.channels_last)
    with patch.object(teaching, "predict_noise", changed):
        return costs(train, steps)
