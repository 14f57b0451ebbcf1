"""Is the VAE a user wired in Stable Diffusion 1.5's? SDXL's has the same shapes, but another latent space."""

from __future__ import annotations

import torch
from comfy.latent_formats import SD15, SDXL, LatentFormat
from comfy.sd import VAE
from comfy.taesd.taesd import TAESD
from torch import Tensor
from torch.nn import functional

from ...errors import CNSError

_CHANNELS, _DIMENSIONS = 4, 2
_LEAST_SPREAD = 0.01  # mean square of colours in -1..1; images of one plain colour tell nothing
_REMEDY = "wire the SD 1.5 checkpoint's VAE"


def check_vae(vae: VAE | None) -> VAE:
    """Returns it; raises CNSError where there is none, or one whose latents have another form, before it encodes anything."""
    if vae is None or getattr(vae, "first_stage_model", vae) is None:
        raise CNSError("No VAE was given: this checkpoint may not contain one; wire a VAE loader.")
    # Other packs bring VAEs of their own, which need not say all of this.
    channels, dimensions = getattr(vae, "latent_channels", _CHANNELS), getattr(vae, "latent_dim", _DIMENSIONS)
    if channels != _CHANNELS or dimensions != _DIMENSIONS:
        raise CNSError(
            f"The VAE wired in gives latents of {channels} channels in {dimensions} dimensions, but SD 1.5 needs "
            f"{_CHANNELS} in {_DIMENSIONS}: {_REMEDY}."
        )
    tiny = getattr(vae, "first_stage_model", None)
    if isinstance(tiny, TAESD) and abs(float(tiny.vae_scale) / SDXL.scale_factor - 1) < 0.01:
        raise CNSError(f"The VAE wired in is SDXL's small one (taesdxl), but SD 1.5 has other latents: {_REMEDY}, or taesd.")
    return vae


def latent_colours(image: Tensor) -> Tensor:
    """(n, height, width, 3) in 0..1 -> its colours (n, 3, height / 8, width / 8) in -1..1, one for each latent."""
    return functional.avg_pool2d(image.movedim(-1, 1).float() * 2 - 1, 8)


def check_latents(latents: Tensor, colours: Tensor) -> None:
    """Raises CNSError where the latents (n, 4, h, w) of images with these colours are SDXL's.

    The files of both VAEs have the same names and shapes. But ComfyUI knows for both which colour a latent roughly stands for,
    to draw its previews. A VAE is refused where SDXL's table gives most of the colours back, and SD-1.5's is worse than
    plain grey; all others pass.
    """
    spread = float((colours - colours.mean(dim=(0, 2, 3), keepdim=True)).square().mean())
    if spread < _LEAST_SPREAD:
        return
    sdxl, sd15 = (_error(colours, latents, kind) / spread for kind in (SDXL(), SD15()))
    if sdxl < 0.5 and sd15 > 1.0:
        raise CNSError(
            "The VAE wired in gives latents that read as SDXL's, not as SD 1.5's, and training would go wrong with them: "
            f"{_REMEDY}."
        )


def _error(colours: Tensor, latents: Tensor, kind: LatentFormat) -> float:
    """Mean square error of the colours that a latent format's table gives."""
    offset = torch.tensor(kind.latent_rgb_factors_bias or [0.0, 0.0, 0.0]).view(3, 1, 1)
    drawn = torch.einsum("nchw,cd->ndhw", kind.process_in(latents), torch.tensor(kind.latent_rgb_factors)) + offset
    return float((drawn - colours).square().mean())
