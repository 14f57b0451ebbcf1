"""Images to latents, once for each training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import CNSError
from ..interruptions import check_cancelled
from ..pictures.pictures import scaled
from .checkpoint import Checkpoint
from .vae import check_latents, check_vae, latent_colours


def fit(image: Tensor, resolution: int) -> Tensor:
    """Scales the shorter side to ``resolution`` (antialiased) and crops the centre: (h, w, 3) -> (1, r, r, 3)."""
    height, width = image.shape[:2]
    size = scaled((height, width), resolution)
    pixels = image.movedim(-1, 0).unsqueeze(0).float()
    if size != (height, width):
        pixels = functional.interpolate(pixels, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    top, left = (size[0] - resolution) // 2, (size[1] - resolution) // 2
    return pixels[:, :, top : top + resolution, left : left + resolution].movedim(1, -1)


def encode_images(
    checkpoint: Checkpoint, images: Sequence[Tensor], resolution: int, on_image: Callable[[], None] = check_cancelled
) -> Tensor:
    """Latents (n, 4, r / 8, r / 8), float32 on the CPU, scaled as the UNet reads them; ``on_image`` is called after each.

    Raises:
        CNSError: there is no VAE, or it is not SD-1.5's kind.
    """
    vae = check_vae(checkpoint.vae)
    encoded, colours = [], []
    for image in images:
        pixels = fit(image, resolution)
        encoded.append(cast(Tensor, vae.encode(pixels)).float().cpu())
        colours.append(latent_colours(pixels))
        on_image()
    latents = torch.cat(encoded)
    if latents.ndim != 4 or latents.shape[1] != 4 or latents.shape[-1] * 8 != resolution:
        raise CNSError(
            f"The VAE gives latents of shape {tuple(latents.shape[1:])} for {resolution} px, SD 1.5 needs "
            f"(4, {resolution // 8}, {resolution // 8}): wire the checkpoint's VAE."
        )
    if not bool(torch.isfinite(latents).all()):
        raise CNSError("The VAE returned NaN for an image: start ComfyUI with --fp32-vae, or wire another VAE.")
    check_latents(latents, torch.cat(colours))
    return checkpoint.model.model.process_latent_in(latents).clone()


def single_images(batches: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """IMAGE batches (n, height, width, channels), sizes may differ between batches -> single images, not copied."""
    return tuple(image for batch in batches for image in torch.unbind(batch))


def image_list(batches: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The same in float32 on the CPU."""
    return tuple(image.float().cpu() for image in single_images(batches))
