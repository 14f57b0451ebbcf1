"""The UNet's prediction of the noise, as the checkpoint was trained to give it."""

from __future__ import annotations

from comfy.ldm.modules.attention import attention_pytorch
from comfy.model_base import BaseModel
from torch import Tensor

from ...training import PredictNoise

# Autograd knows torch's attention, and not the others that ComfyUI may run on.
_OPTIONS = {"optimized_attention_override": lambda _, *args, **kwargs: attention_pytorch(*args, **kwargs)}


def alphas_cumprod(base: BaseModel) -> Tensor:
    """``ᾱ_t`` of the noise schedule: float32 (timesteps,)."""
    return 1 / (base.model_sampling.sigmas.float() ** 2 + 1)


def predict_noise(base: BaseModel) -> PredictNoise:
    """Noisy latents (b, 4, h, w), timesteps (b,) and context (b, tokens, features) -> the noise, in float32, differentiable."""
    dtype = base.manual_cast_dtype or base.get_dtype()

    def predict(noisy: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        context, options = context.to(noisy.device, dtype), dict(_OPTIONS)  # ComfyUI writes into the options
        return base.diffusion_model(noisy.to(dtype), timesteps.float(), context=context, transformer_options=options).float()

    return predict
