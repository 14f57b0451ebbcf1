"""Which part of an image is the concept."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .errors import CNSError

MARKS = ("concept", "background")  # what a mask's white parts can mean
_STEP = 0.5 / 255  # half of what a mask in 8 bits can tell apart
_MOST_OFF = 0.02  # by which share a mask's proportions may differ from its image's: sizes are whole pixels


def fits(mask: Sequence[int], image: Sequence[int]) -> bool:
    """Whether a mask of this size (height, width) has its image's proportions."""
    return abs(mask[0] * image[1] / (mask[1] * image[0]) - 1) <= _MOST_OFF


def image_masks(masks: Sequence[Tensor], images: Sequence[Tensor], marks: str) -> tuple[Tensor | None, ...]:
    """For each image (height, width, 3) a float32 mask (height, width), 1 where the concept is; None where all of it counts.

    ``masks`` (h, w) are 1 at what ``marks`` says, one of :data:`MARKS`. A mask that marks nothing means that there is none: so
    ComfyUI gives them for images without alpha channel, in any size.

    Raises:
        CNSError: not one mask for each image, one of other proportions, or one that leaves nothing to learn.
    """
    if marks not in MARKS:
        raise CNSError(f"mask_marks is '{marks}': choose one of {', '.join(MARKS)}.")
    if masks and len(masks) != len(images):
        raise CNSError(f"There are {len(masks)} masks for {len(images)} images: wire one for each image, in the same order.")
    return tuple(_understood(*pair, number, marks) for number, pair in enumerate(zip(masks, images, strict=False), start=1))


def _understood(mask: Tensor, image: Tensor, number: int, marks: str) -> Tensor | None:
    mask = mask.detach().float().cpu().clamp(0, 1)
    if not bool(torch.isfinite(mask).all()):
        raise CNSError(f"Mask {number} holds NaN or infinity: check the node that makes it.")
    if float(mask.max()) < _STEP:
        return None
    (height, width), (mask_height, mask_width) = image.shape[:2], mask.shape
    if not fits(mask.shape, image.shape):
        raise CNSError(
            f"Mask {number} has {mask_width} x {mask_height} pixels, but its image has {width} x {height}, so their "
            "proportions differ: wire the mask of that image."
        )
    if (mask_height, mask_width) != (height, width):
        mask = interpolate(mask[None, None], (height, width), mode="bilinear", antialias=True)[0, 0].clamp(0, 1)
    mask = 1 - mask if marks == "background" else mask
    if float(mask.max()) < _STEP:
        raise CNSError(f"Mask {number} marks all of its image as background, so nothing is left to learn: see mask_marks.")
    return None if float(mask.min()) > 1 - _STEP else mask


def mask_figures(masks: Sequence[Tensor | None]) -> str:
    """What was understood, such as ``the concept is 34 % of image 1, all of image 2``; empty where no image has a mask."""
    if not any(mask is not None for mask in masks):
        return ""
    parts = [
        f"{'all' if mask is None else f'{float(mask.mean()):.0%}'} of image {number}"
        for number, mask in enumerate(masks, start=1)
    ]
    return f"according to the masks, the concept is {', '.join(parts)}"
