"""Several prompts in one cross-attention, each in its own part of the picture: section 9.6, with Mix-of-Show's semantics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .errors import CNSError

Box = tuple[float, float, float, float]  # left, top, width, height in pixels


def mask_of_boxes(boxes: Sequence[Box], width: int, height: int) -> Tensor:
    """float32 (1, height, width): 1 inside any of the boxes, 0 elsewhere. Parts of a box outside the picture are cut off.

    Raises:
        CNSError: no boxes, or one without an area inside the picture.
    """
    if not boxes:
        raise CNSError("The region has no bounding box: draw one.")
    mask = torch.zeros(1, height, width)
    for left, top, wide, high in boxes:
        rows = slice(max(0, round(top)), max(0, round(top + high)))
        columns = slice(max(0, round(left)), max(0, round(left + wide)))
        if not mask[:, rows, columns].numel():
            raise CNSError(
                f"The bounding box of {wide:g} x {high:g} pixels at {left:g}, {top:g} is not on a canvas of {width} x "
                f"{height}: set width and height to the size of the canvas it was drawn on."
            )
        mask[:, rows, columns] = 1.0
    return mask


def at_positions(mask: Tensor, height: int, width: int) -> Tensor:
    """(b, h, w) to (b, height · width): how much of each position's area the mask covers, so that thin regions survive."""
    return functional.interpolate(mask.unsqueeze(1), size=(height, width), mode="area").flatten(1)


def weights(masks: Tensor, strengths: Sequence[float]) -> Tensor:
    """What of each position comes from each region; the rest, ``1 - sum``, comes from the base prompt.

    Where k regions cover a position entirely each gets ``strength / k``: the mean of the regions, and ``strength`` is the part
    of the base prompt that it replaces. Soft masks that add up to no more than 1 are taken as they are.

    Args:
        masks: (regions, b, positions) in 0..1.
        strengths: in 0..1, one for each region.
    """
    shares = masks / masks.sum(0).clamp(min=1.0)
    return shares * shares.new_tensor(strengths).view(-1, 1, 1)


def mixed(base: Tensor, regions: Sequence[Tensor], shares: Tensor) -> Tensor:
    """``base · (1 - cover) + sum of share · region``, all attention outputs (b, positions, channels).

    Args:
        shares: (regions, b, positions), from :func:`weights`.
    """
    shares = shares.unsqueeze(-1).to(base)
    result = base * (1.0 - shares.sum(0))
    for region, share in zip(regions, shares, strict=True):
        result = torch.addcmul(result, region, share)
    return result
