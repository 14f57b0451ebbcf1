"""What a training step sees: latents noised to random timesteps, beside the prompts they are predicted from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import CNSError


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Cached inputs of a training.

    ``latents``: float32 (images, 4, height / 8, width / 8), scaled as the UNet expects; each crop of a photograph is an image
    of its own. ``prompts``: for each image those a step draws from. ``prior_latents``: class prior images;
    ``prior_contexts``, each (1, tokens, features): what CLIP makes of their different prompts; ``prior_prompts``: for each
    prior image the number of its prompt. All empty without a prior. ``weights``: float32 (images, 1, height / 8, width / 8),
    what each place of an image counts in the loss; None: all the same.
    """

    latents: Tensor
    prompts: list[tuple[str, ...]]
    prior_latents: Tensor | None = None
    prior_contexts: tuple[Tensor, ...] = ()
    prior_prompts: tuple[int, ...] = ()
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        if len(self.latents) != len(self.prompts):
            raise CNSError(f"There are {len(self.latents)} latents, but prompts for {len(self.prompts)} images.")
        if self.weights is not None and len(self.weights) != len(self.latents):
            raise CNSError(f"There are {len(self.latents)} latents, but weights for {len(self.weights)} images.")
        priors = 0 if self.prior_latents is None else len(self.prior_latents)
        if priors != len(self.prior_prompts):
            raise CNSError(f"There are {priors} prior images, but {len(self.prior_prompts)} prior prompts.")


@dataclass(frozen=True, eq=False)
class Batch:
    """``noisy`` and ``noise`` (b, 4, h, w), ``timesteps`` (b,); the first ``len(prompts)`` samples are instances, the others
    the prior images of these numbers. ``weights``: the instances', (instances, 1, h, w), if there are any.
    """

    noisy: Tensor
    noise: Tensor
    timesteps: Tensor
    prompts: list[str]
    priors: list[int]
    weights: Tensor | None = None


def draw_batch(
    data: TrainingSet, alphas_cumprod: Tensor, batch_size: int, with_prior: bool, generator: torch.Generator
) -> Batch:
    """Draws images, prompts, timesteps and noise from ``generator`` (a CPU generator: the same on every device).

    Everything is on the CPU, ``alphas_cumprod`` (timesteps,) too.

    ``x_t = sqrt(ᾱ_t) x_0 + sqrt(1 − ᾱ_t) ε``, t uniform over the schedule (Ho et al. 2020, eq. 4).
    """

    def pick(count: int, how_many: int) -> list[int]:
        return torch.randint(count, (how_many,), generator=generator).tolist()

    chosen = pick(len(data.latents), batch_size)
    prompts = [data.prompts[i][pick(len(data.prompts[i]), 1)[0]] for i in chosen]
    latents, priors = data.latents[chosen], []
    if with_prior and data.prior_latents is not None:
        priors = pick(len(data.prior_latents), batch_size)
        latents = torch.cat([latents, data.prior_latents[priors]])
    timesteps = torch.randint(len(alphas_cumprod), (len(latents),), generator=generator)
    noise = torch.randn(latents.shape, generator=generator)
    signal = alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    noisy = signal.sqrt() * latents + (1 - signal).sqrt() * noise
    return Batch(noisy, noise, timesteps, prompts, priors, None if data.weights is None else data.weights[chosen])


def stack_contexts(contexts: list[Tensor]) -> Tensor:
    """Concatenates (b, tokens, features) along b; shorter ones are repeated to a common length.

    Repeating a whole context changes no attention output, and is what ComfyUI's sampler does.
    """
    length = math.lcm(*(context.shape[1] for context in contexts))
    return torch.cat([context.repeat(1, length // context.shape[1], 1) for context in contexts])
