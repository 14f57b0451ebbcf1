"""Pictures of what a training has learned so far."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import comfy.model_management as memory
import comfy.samplers
import torch
from comfy.k_diffusion.sampling import sample_dpmpp_2m
from comfy.model_base import BaseModel
from comfy.sd import VAE
from latent_preview import Latent2RGBPreviewer
from PIL import Image
from torch import Tensor

from ..interruptions import check_cancelled

_STEPS, _GUIDANCE, _SEED = 20, 6.0, 0
_SPARE_BYTES = 0.5e9  # left free where the VAE is loaded beside the training
_SHOWN_PIXELS = 256


class TrainingPreview:
    """Draws a prompt with the weights and the token of the moment; the same noise each time, so that pictures compare.

    Args:
        predict_noise, encode_prompts: as the training loop's.
        vae: decodes where the device has room for it beside the training; else ComfyUI's rough latent preview is shown.
    """

    def __init__(
        self,
        base: BaseModel,
        vae: VAE,
        device: torch.device,
        resolution: int,
        prompt: str,
        predict_noise: Callable[[Tensor, Tensor, Tensor], Tensor],
        encode_prompts: Callable[[list[str], Tensor], Tensor],
    ) -> None:
        self.prompt = prompt
        self._base, self._vae, self._device, self._side = base, vae, device, resolution // 8
        self._predict_noise, self._encode = predict_noise, encode_prompts

    @torch.no_grad()
    def draw(self, token: Tensor) -> Image.Image:
        """The prompt's picture at the training's resolution; ``token`` (vectors, features)."""
        context = self._encode([self.prompt, ""], token)
        sampling = self._base.model_sampling

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            check_cancelled()
            scaled = x / (sigma**2 + 1).sqrt().view(-1, 1, 1, 1)
            timestep = sampling.timestep(sigma)
            noise, unguided = self._predict_noise(scaled.repeat(2, 1, 1, 1), timestep.repeat(2), context).chunk(2)
            return x - sigma.view(-1, 1, 1, 1) * (unguided + _GUIDANCE * (noise - unguided))

        sigmas = comfy.samplers.calculate_sigmas(sampling, "karras", _STEPS).to(self._device)
        start = torch.randn(1, 4, self._side, self._side, generator=torch.Generator().manual_seed(_SEED)).to(self._device)
        return self._decode(sample_dpmpp_2m(denoise, start * sigmas[0], sigmas, disable=True))

    def _decode(self, latents: Tensor) -> Image.Image:
        raw = self._base.process_latent_out(latents)
        if self._vae_fits(raw.shape):
            with torch.inference_mode():  # what ComfyUI loads outside of it is neither an inference nor a normal tensor
                pixels = self._vae.decode(raw)[0]
            return Image.fromarray((pixels.clamp(0, 1) * 255).round().byte().cpu().numpy())
        format_ = self._base.latent_format
        rough = Latent2RGBPreviewer(format_.latent_rgb_factors, format_.latent_rgb_factors_bias)
        return rough.decode_latent_to_preview(latents.float().cpu()).resize((8 * self._side, 8 * self._side))

    def _vae_fits(self, shape: torch.Size) -> bool:
        """Whether ComfyUI can decode without taking the UNet off the device in the midst of its training."""
        if self._device.type == "cpu":
            return True
        if memory.DISABLE_SMART_MEMORY:  # then ComfyUI unloads every other model whatever is free
            return False
        needed = self._vae.memory_used_decode(shape, self._vae.vae_dtype) + self._vae.patcher.model_size()
        return memory.get_free_memory(self._device) > 1.1 * needed + memory.minimum_inference_memory() + _SPARE_BYTES


def data_url(picture: Image.Image) -> str:
    """A small JPEG a page can show at once."""
    small = picture.copy()
    small.thumbnail((_SHOWN_PIXELS, _SHOWN_PIXELS))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
