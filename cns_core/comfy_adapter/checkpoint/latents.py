"""Images to latents, once for each training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from ...concept import Concept
from ...config import TrainConfig
from ...crops import cropped, holding, random_boxes
from ...errors import CNSError
from ..interruptions import check_cancelled
from ..pictures.pictures import scaled
from .checkpoint import Checkpoint
from .vae import check_latents, check_vae, latent_colours


def fit(image: Tensor, resolution: int) -> Tensor:
    """Scales the shorter side to ``resolution`` (antialiased) and crops the centre: (h, w, c) -> (1, r, r, c)."""
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
    return _encoded(checkpoint, (fit(image, resolution) for image in images), resolution, on_image)


def encode_concept(
    checkpoint: Checkpoint, concept: Concept, config: TrainConfig, on_image: Callable[[], None] = check_cancelled
) -> tuple[Tensor, Tensor | None]:
    """The latents of ``config.crops`` crops of each image, one image after the other, as :func:`encode_images` gives them, and
    what their places count in the loss, see :class:`...training.TrainingSet`; None where no image has a mask.

    Raises:
        CNSError: as :func:`encode_images`, and where nothing of a mask is in its image's only crop.
    """
    weights = []

    def pixels() -> Iterator[Tensor]:
        for crop in _masked_crops(concept, config):
            if crop.shape[-1] > 3:
                weights.append(functional.avg_pool2d(crop[..., 3], 8).lerp(torch.ones(()), config.outside_weight))
            yield crop[..., :3]

    latents = _encoded(checkpoint, pixels(), config.resolution, on_image)
    return latents, torch.stack(weights) if weights else None


def check_masks(concept: Concept, config: TrainConfig) -> None:
    """Raises CNSError where :func:`encode_concept` would for a mask."""
    if concept.masks:
        for _ in _masked_crops(concept, config):
            check_cancelled()


def _masked_crops(concept: Concept, config: TrainConfig) -> Iterator[Tensor]:
    """Each (1, r, r, 3), or (1, r, r, 4) where an image has a mask: as a fourth channel it goes wherever its picture goes."""
    masks, any_mask = concept.masks or (None,) * len(concept.images), any(mask is not None for mask in concept.masks)
    generator = torch.Generator().manual_seed(config.seed)
    for number, (image, mask) in enumerate(zip(concept.images, masks, strict=True), start=1):
        whole = torch.ones_like(image[..., 0]) if mask is None else mask
        masked = torch.cat([image, whole.unsqueeze(-1)], dim=-1) if any_mask else image
        for crop in _crops(masked, config, generator):
            if any_mask and not bool(crop[..., 3].any()):
                raise CNSError(
                    f"The mask of image {number} marks nothing in the square that is cut from the image's centre: crop the "
                    "image around the concept, or set crops to 2 or more."
                )
            yield crop


def _crops(image: Tensor, config: TrainConfig, generator: torch.Generator) -> Iterator[Tensor]:
    """(h, w, c) -> (1, r, r, c) each."""
    if config.crops == 1:
        yield fit(image, config.resolution)
        return
    height, width = image.shape[:2]
    for box in random_boxes(height, width, config.crops, config.flip, generator):
        yield cropped(image, holding(box, image[..., 3]) if image.shape[2] > 3 else box, config.resolution)


def _encoded(checkpoint: Checkpoint, images: Iterable[Tensor], resolution: int, on_image: Callable[[], None]) -> Tensor:
    """Of images (1, r, r, 3)."""
    vae = check_vae(checkpoint.vae)
    encoded, colours = [], []
    for pixels in images:
        encoded.append(cast(Tensor, vae.encode(pixels)).float().cpu())
        colours.append(latent_colours(pixels).cpu())
        on_image()
    latents = torch.cat(encoded)
    if latents.ndim != 4 or latents.shape[1] != 4 or latents.shape[-1] * 8 != resolution:
        raise CNSError(
            f"The VAE gives latents of shape {tuple(latents.shape[1:])} for {resolution} px, but SD 1.5 needs "
            f"(4, {resolution // 8}, {resolution // 8}): wire the checkpoint's VAE."
        )
    if not bool(torch.isfinite(latents).all()):
        raise CNSError("The VAE returned NaN for an image: start ComfyUI with --fp32-vae, or wire another VAE.")
    check_latents(latents, torch.cat(colours))
    return checkpoint.model.model.process_latent_in(latents).clone()


def single_images(batches: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """IMAGE batches (n, height, width, channels), sizes may differ between batches -> single images, not copied."""
    return tuple(image for batch in batches for image in torch.unbind(batch))


def single_masks(batches: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """MASK batches (n, height, width), or bare masks (height, width) -> single masks, not copied.

    Raises:
        CNSError: another shape.
    """
    for batch in batches:
        if batch.ndim not in (2, 3):
            raise CNSError(
                f"A mask has shape {tuple(batch.shape)} where height x width is needed: check the node that makes it."
            )
    return tuple(mask for batch in batches for mask in (torch.unbind(batch) if batch.ndim == 3 else (batch,)))


def image_list(batches: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The same in float32 on the CPU."""
    return tuple(image.float().cpu() for image in single_images(batches))
