"""Drawing styles: how a supersampled scene becomes the picture.

A style gets the scene (RGB) and the silhouette of its things (L), both supersampled, and returns PIXELS × PIXELS RGB.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageFilter

PIXELS = 128
Style = Callable[[Image.Image, Image.Image, random.Random], Image.Image]


def plain(picture: Image.Image, shapes: Image.Image, rng: random.Random) -> Image.Image:
    return picture.resize((PIXELS, PIXELS), Image.Resampling.BOX)


def _pixel_art(picture: Image.Image, shapes: Image.Image, rng: random.Random) -> Image.Image:
    blocks = picture.resize((PIXELS // 4, PIXELS // 4), Image.Resampling.BOX)
    return blocks.resize((PIXELS, PIXELS), Image.Resampling.NEAREST)


def _ink_outline(picture: Image.Image, shapes: Image.Image, rng: random.Random) -> Image.Image:
    edge = ImageChops.subtract(shapes.filter(ImageFilter.MaxFilter(13)), shapes.filter(ImageFilter.MinFilter(5)))
    picture.paste((12, 12, 14), (0, 0), edge)
    return plain(picture, shapes, rng)


def _neon(picture: Image.Image, shapes: Image.Image, rng: random.Random) -> Image.Image:
    glowing = Image.blend(picture, Image.new("RGB", picture.size, (8, 4, 20)), 0.66)
    halo = shapes.filter(ImageFilter.MaxFilter(9)).filter(ImageFilter.GaussianBlur(9))
    glowing.paste((120, 250, 250), (0, 0), halo)
    glowing.paste(picture, (0, 0), shapes)
    return plain(glowing, shapes, rng)


def _watercolor(picture: Image.Image, shapes: Image.Image, rng: random.Random) -> Image.Image:
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(5)).resize((PIXELS, PIXELS), Image.Resampling.BOX), np.float32)
    noise = np.random.default_rng(rng.getrandbits(32)).standard_normal((PIXELS // 16, PIXELS // 16)).astype(np.float32)
    wash = np.asarray(Image.fromarray(noise).resize((PIXELS, PIXELS), Image.Resampling.BICUBIC))[..., None]
    paper = np.array((250, 246, 236), np.float32)
    washed = paper + (soft - paper) * (0.62 + 0.1 * wash)
    return Image.fromarray(washed.clip(0, 255).astype(np.uint8))


STYLES: dict[str, Style] = {
    "": plain,
    "pixel art": _pixel_art,
    "ink outline": _ink_outline,
    "neon": _neon,
    "watercolor": _watercolor,
}
