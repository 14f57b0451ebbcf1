"""The UNet's prediction of the noise, as the checkpoint was trained to give it."""

from __future__ import annotations

import torch
from comfy.ldm.modules.attention import attention_pytorch, get_attn_precision
from comfy.model_base import BaseModel
from torch import Tensor

from ...training import PredictNoise


def _attention(
    _: object, q: Tensor, k: Tensor, v: Tensor, *args, attn_precision: torch.dtype | None = None, **kwargs
) -> Tensor:
    """Autograd knows torch's attention, and not the others that ComfyUI may run on. They compute in float32 where ComfyUI asks
    for it, as on a Mac; torch's does not.
    """
    precision = get_attn_precision(attn_precision, q.dtype) or q.dtype
    return attention_pytorch(q.to(precision), k.to(precision), v.to(precision), *args, **kwargs).to(q.dtype)


ATTENTION = {"optimized_attention_override": _attention}  # transformer options


def compute_dtype(base: BaseModel) -> torch.dtype:
    """What the UNet computes in, whatever its weights are stored as."""
    return base.manual_cast_dtype or base.get_dtype()


def alphas_cumprod(base: BaseModel) -> Tensor:
    """``ᾱ_t`` of the noise schedule: float32 (timesteps,)."""
    return 1 / (base.model_sampling.sigmas.float() ** 2 + 1)


def predict_noise(base: BaseModel) -> PredictNoise:
    """Noisy latents (b, 4, h, w), timesteps (b,) and context (b, tokens, features) -> the noise, in float32, differentiable."""
    dtype = compute_dtype(base)

    def predict(noisy: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        context, options = context.to(noisy.device, dtype), dict(ATTENTION)  # ComfyUI writes into the options
        return base.diffusion_model(noisy.to(dtype), timesteps.float(), context=context, transformer_options=options).float()

    return predict
