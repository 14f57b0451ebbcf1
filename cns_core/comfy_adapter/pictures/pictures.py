"""Reads picture files of any kind as ComfyUI's IMAGE, and what is transparent in them, or a mask file, as MASK."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ...image_masks import fits


class Unreadable(Exception):
    """Why a picture is left out, in words that go into brackets."""


class Picture(NamedTuple):
    """``image``: float32 (1, height, width, 3) in 0..1, upright, on white where it is transparent. ``mask``: float32
    (1, height, width), 1 where it is opaque; None where it is so everywhere. ``notes``: what the user should know.
    """

    image: Tensor
    mask: Tensor | None
    notes: list[str]


def read_picture(path: Path, resolution: int) -> Picture:
    """A shorter side of more than ``resolution`` pixels is scaled down to that.

    Raises:
        Unreadable: broken, empty, too large, or of a format this Pillow does not know.
    """
    pixels, notes = _decoded(path, "RGBA", resolution)
    if min(pixels.size) > resolution:
        pixels = pixels.resize(scaled(pixels.size, resolution), Image.Resampling.BICUBIC)
    on_white = Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels).convert("RGB")
    alpha = pixels.getchannel("A")
    return Picture(_tensor(on_white), None if alpha.getextrema() == (255, 255) else _tensor(alpha), notes)


def read_mask(path: Path, image: Tensor) -> Tensor:
    """Float32 (1, height, width), 1 where the file is white, at the size of its picture (1, height, width, 3).

    Raises:
        Unreadable: as :func:`read_picture`, or of other proportions than the picture.
    """
    height, width = image.shape[1:3]
    mask, _ = _decoded(path, "L", max(height, width))
    if not fits((mask.height, mask.width), (height, width)):
        raise Unreadable("mask whose proportions differ from its picture's")
    if mask.getextrema() == (0, 1):  # labels, as data sets of segmentations have them
        mask = mask.point(lambda label: 255 * label)
    return _tensor(mask.resize((width, height), Image.Resampling.BILINEAR))


def _decoded(path: Path, mode: str, resolution: int) -> tuple[Image.Image, list[str]]:
    try:
        # By file, not by path: Pillow maps uncompressed files it has a path of, and then scrambles rotated TIFFs.
        with path.open("rb") as file, Image.open(file) as picture:
            notes = _notes(picture, resolution)
            width, height = scaled(picture.size, resolution)
            picture.draft(None, (2 * width, 2 * height))  # JPEG decodes large pictures at a fraction of their size
            ImageOps.exif_transpose(picture, in_place=True)
            return _eight_bit(picture).convert(mode), notes
    except Unreadable:
        raise
    except UnidentifiedImageError as error:
        raise Unreadable(_unidentified(path)) from error
    except Image.DecompressionBombError as error:
        raise Unreadable("more pixels than Pillow opens; scale it down") from error
    except Exception as error:  # decoders raise what they stumble over: zlib.error, struct.error, SyntaxError, EOFError, …
        raise Unreadable(f"cannot be read: {getattr(error, 'strerror', None) or error}; save it again") from error


def _tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255).unsqueeze(0)


def scaled(size: tuple[int, int], resolution: int) -> tuple[int, int]:
    """The size with its shorter side at ``resolution``, in the same proportions."""
    scale = resolution / min(size)
    first, second = (max(resolution, round(side * scale)) for side in size)
    return first, second


def _notes(picture: Image.Image, resolution: int) -> list[str]:
    notes = []
    if getattr(picture, "is_animated", False) and picture.format != "MPO":  # cameras put depth maps behind a photograph
        notes.append("only the first frame is used")
    if min(picture.size) > resolution:
        notes.append(f"scaled down to {resolution} px on the shorter side")
    return notes


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Pillow clips deeper greys at 255 where it converts them, so that all but the darkest turn white."""
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PNG"):
        greys = np.asarray(picture, dtype=np.float32) / 257  # 65535 / 255
        return Image.fromarray(greys.round().astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise Unreadable("32-bit pixels without a known white; save it as PNG")
    return picture


def _unidentified(path: Path) -> str:
    if not path.stat().st_size:
        return "empty file"
    if path.suffix.lower() not in Image.registered_extensions():
        return f"the installed Pillow cannot read {path.suffix}; save it as PNG or JPEG"
    return "broken, or not a picture; save it again as PNG or JPEG"
