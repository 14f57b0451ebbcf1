"""The model a training runs on, and where it starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..masks import NeuronMask
from ..sparse_delta import SparseDelta
from .keep_term import Held

PredictNoise = Callable[[Tensor, Tensor, Tensor], Tensor]  # noisy (b, 4, h, w), timesteps (b,), context -> noise
EncodePrompts = Callable[[list[str], Tensor], Tensor]  # prompts, token vectors (n, f) -> context (b, tokens, f)


@dataclass(frozen=True, eq=False)
class Diffusion:
    """A diffusion model with its text encoder.

    ``unet``: module with ``attn2.to_k/to_v`` that ``predict_noise`` runs; ``weights``: its pretrained ``W0`` by name, (out, in)
    each. ``alphas_cumprod``: the noise schedule ``ᾱ_t`` (timesteps,). ``predict_noise`` gives float32; ``encode_prompts`` is
    differentiable in the token's vectors. ``device``: where UNet and noise are. ``mixed_precision``: the UNet computes in
    float16, so gradients are scaled against underflow.
    """

    unet: nn.Module
    weights: Mapping[str, Tensor]
    alphas_cumprod: Tensor
    predict_noise: PredictNoise
    encode_prompts: EncodePrompts
    device: torch.device
    mixed_precision: bool = False


@dataclass(frozen=True, eq=False)
class Start:
    """Where a concept's training starts, and what it must not move.

    ``mask``: ``M_m``, the weights to train. ``previous``: ``W_{m−1} − W_0`` at all weights that earlier concepts trained; zero
    for the first concept. ``vectors``: the token's, (n, features). ``held``: prompts whose K and V are held to a
    tolerance; see :class:`KeepTerm`.
    """

    mask: NeuronMask
    previous: SparseDelta
    vectors: Tensor
    held: tuple[Held, ...] = ()

    @property
    def regularized(self) -> NeuronMask:
        """``M_reg``: the part of the mask that earlier concepts trained."""
        return self.mask & self.previous.mask
