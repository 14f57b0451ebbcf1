"""Crops of a photograph, so that a concept is not learned at one place and in one size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

_LEAST_AREA = 0.7  # of the largest box of its proportions
_PROPORTIONS = 4 / 3  # width to height is from 3:4 to 4:3


@dataclass(frozen=True)
class Box:
    """A part of an image, in whole pixels; ``flipped``: seen in a mirror."""

    top: int
    left: int
    height: int
    width: int
    flipped: bool = False


def random_boxes(height: int, width: int, count: int, flip: bool, generator: torch.Generator) -> Iterator[Box]:
    """Boxes of 0.7 to 1 times the area of the largest one of their proportions, which are 3:4 to 4:3, anywhere in the image.

    torchvision's RandomResizedCrop takes the area's share of the whole image, which long ones cannot give.
    """

    def draw() -> float:
        return torch.rand((), generator=generator).item()

    for _ in range(count):
        proportions = math.exp((2 * draw() - 1) * math.log(_PROPORTIONS))
        largest = min(height, width / proportions)  # its height
        tall = largest * math.sqrt(_LEAST_AREA + (1 - _LEAST_AREA) * draw())
        box_height, box_width = max(1, round(tall)), max(1, min(width, round(tall * proportions)))
        top, left = (int(draw() * (room + 1)) for room in (height - box_height, width - box_width))
        yield Box(top, left, box_height, box_width, flip and draw() < 0.5)


def holding(box: Box, mask: Tensor) -> Box:
    """The box, moved to the strongest place of the mask (h, w) where it holds nothing of it."""
    if bool(mask[box.top : box.top + box.height, box.left : box.left + box.width].any()):
        return box
    row, column = divmod(int(mask.argmax()), mask.shape[1])
    top = max(0, min(row - box.height // 2, mask.shape[0] - box.height))
    left = max(0, min(column - box.width // 2, mask.shape[1] - box.width))
    return replace(box, top=top, left=left)


def cropped(image: Tensor, box: Box, resolution: int) -> Tensor:
    """(h, w, c) -> (1, r, r, c): the box, stretched to a square by at most a third."""
    part = image[box.top : box.top + box.height, box.left : box.left + box.width]
    pixels = (part.flip(1) if box.flipped else part).movedim(-1, 0).unsqueeze(0).float()
    size = (resolution, resolution)
    if pixels.shape[-2:] != size:
        pixels = interpolate(pixels, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    return pixels.movedim(1, -1)
