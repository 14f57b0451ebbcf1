"""Draws a list of prompts with ComfyUI's own sampler, as many at a time as the device has room for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import comfy.model_management as memory
import comfy.sample
import comfy.utils
import torch
from torch import Tensor

from ...config import PriorConfig
from ...errors import CNSError
from ...training.batches import stack_contexts
from ..checkpoint.checkpoint import Checkpoint
from ..checkpoint.conditioning import encode_all, features
from ..checkpoint.vae import check_vae
from ..out_of_memory import out_of_memory

_MOST = 8  # at a time: larger batches are hardly faster, and Cancel waits for one


def noises(config: PriorConfig) -> list[Tensor]:
    """For each picture its noise (4, h, w), which does not depend on how many there are."""
    generator, side = torch.Generator().manual_seed(config.seed), config.resolution // 8
    return [torch.randn(4, side, side, generator=generator) for _ in range(config.count)]


def drawn(
    checkpoint: Checkpoint,
    prompts: Sequence[str],
    noise: Sequence[Tensor],
    config: PriorConfig,
    on_step: Callable[[int], None],
) -> Iterator[list[Tensor]]:
    """Pictures (height, width, 3) of the prompts, in their order, a batch at a time. ``on_step`` is called after each step with
    the number of pictures in it.

    Raises:
        CNSError: no VAE, or not enough memory for a single picture.
    """
    vae = check_vae(checkpoint.vae)
    contexts = [context.unsqueeze(0) for context in encode_all(checkpoint.clip, list(prompts))]
    negative = features(checkpoint.clip, [config.negative])[0].unsqueeze(0)
    size, done = _room_for(checkpoint, config.resolution), 0
    while done < len(prompts):
        part = slice(done, done + size)
        positive = stack_contexts(contexts[part])
        try:
            latents = _sampled(checkpoint, torch.stack(list(noise[part])), (positive, negative), config, on_step)
            pictures = cast(Tensor, vae.decode(latents))
        except Exception as error:
            if not out_of_memory(error):
                raise
            memory.soft_empty_cache()
            if len(positive) == 1:
                raise CNSError(
                    f"The device ran out of memory while drawing one prior image of {config.resolution} px: lower resolution, "
                    "or close other programs that use it."
                ) from error
            size = len(positive) // 2
            continue
        yield list(pictures.cpu().unbind())
        done += len(pictures)


def _room_for(checkpoint: Checkpoint, resolution: int) -> int:
    """How many pictures ComfyUI's estimate lets through at once, with and without the prompt each; it errs high."""
    model, side = checkpoint.model, resolution // 8
    total = cast(int, memory.get_total_memory(model.load_device))
    budget = total - model.model_size() - memory.minimum_inference_memory()
    return max(1, min(_MOST, int(budget // model.memory_required([2, 4, side, side]))))


def _sampled(
    checkpoint: Checkpoint,
    noise: Tensor,
    prompts: tuple[Tensor, Tensor],
    config: PriorConfig,
    on_step: Callable[[int], None],
) -> Tensor:
    positive, negative = ([[context, {}]] for context in prompts)
    return comfy.sample.sample(
        checkpoint.model,
        noise,
        config.steps,
        config.cfg,
        config.sampler,
        config.scheduler,
        positive,
        negative,
        torch.zeros_like(noise),
        callback=lambda *_: on_step(len(noise)),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=config.seed,
    )
