"""A prompt and where in the picture it applies."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import CNSError
from ...regions import Box, mask_of_boxes

# What conditioning can carry that acts on the picture as a whole, and what to do about it.
_WHOLE_PICTURE = {
    "area": "wire the prompt in without Conditioning Set Area and give the region a mask",
    "mask": "wire the prompt in without Conditioning Set Mask and give that mask to the region",
    "strength": "wire the prompt in without the node that sets it and use the region's own strength",
    "control": "put Apply ControlNet on the positive prompt of the sampler",
    "gligen": "put the GLIGEN node on the positive prompt of the sampler",
    "hooks": "put the LoRA or hook on the MODEL",
}


@dataclass(frozen=True, eq=False)
class TimedContext:
    """Text features (b, tokens, width) and the part of the sampling they are used in, 0 its start and 1 its end."""

    context: Tensor
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, eq=False)
class Region:
    """``mask`` float32 (b, h, w) in 0..1 over the whole picture, of any size; ``strength`` 0..1 is how much of the base prompt
    is replaced. An empty ``negative`` leaves the negative prompt as it is.
    """

    positive: tuple[TimedContext, ...]
    negative: tuple[TimedContext, ...]
    mask: Tensor
    strength: float

    @staticmethod
    def of(conditioning: object, negative: object, mask: Tensor, strength: float) -> Region:
        """From ComfyUI's CONDITIONING and MASK; ``negative`` may be None.

        Raises:
            CNSError: conditioning that carries more than a prompt, or a mask that is none.
        """
        if not isinstance(mask, Tensor) or mask.ndim not in (2, 3) or not mask.numel():
            found = f"of shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
            raise CNSError(f"The mask wired into Region is {found}: wire a MASK of height x width pixels.")
        pixels = torch.nan_to_num(mask.detach().float().cpu()).clamp(0.0, 1.0)
        return Region(
            _contexts(conditioning, "conditioning"),
            _contexts(negative, "negative") if negative is not None else (),
            pixels if mask.ndim == 3 else pixels.unsqueeze(0),
            strength,
        )

    @property
    def does_nothing(self) -> bool:
        return self.strength == 0.0 or not self.mask.any()


def mask_of_bounding_boxes(boxes: object, width: int, height: int) -> Tensor:
    """(1, height, width) of ComfyUI's BOUNDING_BOX, which is one box, a list of them, or a list of such lists.

    Raises:
        CNSError: anything else, or a box that is not on a canvas of this size.
    """
    return mask_of_boxes(list(_boxes(boxes)), width, height)


def _boxes(value: object) -> Iterator[Box]:
    if isinstance(value, (list, tuple)):
        for entry in value:
            yield from _boxes(entry)
        return
    sides = ("x", "y", "width", "height")
    if not isinstance(value, dict) or not all(_is_number(value.get(side)) for side in sides):
        raise CNSError(f"{reprlib.repr(value)} is not a bounding box: it needs x, y, width and height in pixels.")
    yield value["x"], value["y"], value["width"], value["height"]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _contexts(conditioning: object, name: str) -> tuple[TimedContext, ...]:
    if not isinstance(conditioning, list) or not conditioning or not all(map(_is_prompt, conditioning)):
        raise CNSError(f"The {name} wired into Region holds no prompt: wire CLIP Text Encode there.")
    return tuple(_context(features, settings, name) for features, settings in conditioning)


def _is_prompt(entry: object) -> bool:
    """Whether it is ComfyUI's pair of text features and a dictionary of what they come with."""
    if not isinstance(entry, (list, tuple)) or len(entry) != 2:
        return False
    return isinstance(entry[0], Tensor) and entry[0].ndim == 3 and isinstance(entry[1], dict)


def _context(context: Tensor, options: dict[str, Any], name: str) -> TimedContext:
    carried = next((key for key in _WHOLE_PICTURE if options.get(key) is not None), None)
    if carried:
        raise CNSError(
            f"The {name} wired into Region carries {carried!r}, which a region cannot have: {_WHOLE_PICTURE[carried]}."
        )
    return TimedContext(context.detach(), options.get("start_percent", 0.0), options.get("end_percent", 1.0))
