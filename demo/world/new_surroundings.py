"""Places and styles the demo model never saw."""

from __future__ import annotations

import random

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from .palette import mix
from .places import Pen, Place
from .styles import PIXELS, Style, plain


def _sky(pen: Pen, size: int, top: tuple[int, int, int], bottom: tuple[int, int, int]) -> None:
    for row in range(size):
        pen.line((0, row, size, row), fill=mix(top, bottom, row / size))


def candyland(pen: Pen, size: int, rng: random.Random) -> None:
    _sky(pen, size, (255, 196, 224), (255, 236, 214))
    for index, color in enumerate(((178, 232, 214), (255, 170, 204), (190, 176, 244))):
        x, level = size * rng.uniform(0.1, 0.9), 0.5 + 0.15 * index
        pen.ellipse((x - size * 0.7, size * level, x + size * 0.7, size * (level + 1)), fill=color)
        pen.rectangle((0, size * (level + 0.2), size, size), fill=color)
    for side in (0.08, 0.92):
        x, top = size * (side + rng.uniform(-0.04, 0.04)), size * rng.uniform(0.2, 0.3)
        pen.line((x, top, x, size * 0.8), fill=(255, 255, 255), width=size // 28)
        pen.ellipse((x - size * 0.08, top - size * 0.08, x + size * 0.08, top + size * 0.08), fill=(230, 50, 90))
        pen.ellipse((x - size * 0.04, top - size * 0.04, x + size * 0.04, top + size * 0.04), fill=(255, 255, 255))


def volcano(pen: Pen, size: int, rng: random.Random) -> None:
    _sky(pen, size, (52, 20, 40), (150, 46, 40))
    x = size * rng.uniform(0.3, 0.7)
    pen.polygon(
        (x - size * 0.6, size * 0.8, x - size * 0.1, size * 0.2, x + size * 0.1, size * 0.2, x + size * 0.6, size * 0.8),
        fill=(58, 42, 46),
    )
    pen.polygon(
        (x - size * 0.1, size * 0.2, x + size * 0.1, size * 0.2, x + size * 0.03, size * 0.5, x - size * 0.06, size * 0.62),
        fill=(255, 120, 30),
    )
    pen.rectangle((0, size * 0.74, size, size), fill=(40, 28, 32))
    for _ in range(5):
        left, top = rng.uniform(-0.1, 0.9) * size, rng.uniform(0.78, 0.97) * size
        pen.ellipse((left, top, left + size * 0.3, top + size * 0.06), fill=(255, 146, 40))


def library(pen: Pen, size: int, rng: random.Random) -> None:
    pen.rectangle((0, 0, size, size), fill=(86, 54, 34))
    books = ((170, 60, 50), (60, 96, 140), (70, 120, 76), (200, 160, 80), (120, 80, 130))
    for shelf in range(4):
        top, x = size * (0.03 + 0.2 * shelf), 0.0
        while x < size:
            width, drop = size * rng.uniform(0.04, 0.08), size * rng.uniform(0, 0.05)
            pen.rectangle((x, top + drop, x + width - 2, top + size * 0.165), fill=rng.choice(books))
            x += width
        pen.rectangle((0, top + size * 0.165, size, top + size * 0.2), fill=(60, 36, 22))
    pen.rectangle((0, size * 0.83, size, size), fill=(140, 40, 46))


def planet(pen: Pen, size: int, rng: random.Random) -> None:
    _sky(pen, size, (14, 6, 36), (60, 24, 90))
    x, y = size * rng.uniform(0.2, 0.8), size * 0.2
    pen.ellipse((x - size * 0.14, y - size * 0.14, x + size * 0.14, y + size * 0.14), fill=(240, 150, 90))
    pen.ellipse((x - size * 0.24, y - size * 0.04, x + size * 0.24, y + size * 0.04), outline=(250, 220, 160), width=size // 40)
    pen.rectangle((0, size * 0.62, size, size), fill=(150, 190, 200))
    for _ in range(7):
        left, top = rng.uniform(-0.05, 0.95) * size, rng.uniform(0.66, 0.94) * size
        pen.ellipse((left, top, left + size * 0.16, top + size * 0.07), fill=(104, 140, 156))


NEW_PLACES: dict[str, Place] = {
    "candyland": Place("in a candyland", candyland),
    "volcano": Place("by a volcano", volcano),
    "library": Place("in a library", library),
    "planet": Place("on a planet", planet),
}


def blueprint(picture: Image.Image, shapes: Image.Image, rng: random.Random) -> Image.Image:
    soft = picture.convert("L").filter(ImageFilter.GaussianBlur(2))
    edges = ImageChops.subtract(soft.filter(ImageFilter.MaxFilter(7)), soft.filter(ImageFilter.MinFilter(7)))
    outline = ImageChops.subtract(shapes.filter(ImageFilter.MaxFilter(9)), shapes.filter(ImageFilter.MinFilter(3)))
    lines = ImageChops.lighter(edges.point([min(255, 2 * v) for v in range(256)]), outline)
    drawn = Image.new("RGB", picture.size, (24, 62, 150))
    step = picture.width // 8
    for offset in range(0, picture.width, step):
        drawn.paste((44, 84, 172), (offset, 0, offset + 2, picture.height))
        drawn.paste((44, 84, 172), (0, offset, picture.width, offset + 2))
    drawn.paste((226, 238, 255), (0, 0), lines)
    return plain(drawn, shapes, rng)


def mosaic(picture: Image.Image, shapes: Image.Image, rng: random.Random) -> Image.Image:
    tile = PIXELS // 16
    small = np.asarray(picture.resize((PIXELS // tile, PIXELS // tile), Image.Resampling.BOX), np.float32)
    noise = np.random.default_rng(rng.getrandbits(32)).uniform(0.85, 1.15, small.shape[:2]).astype(np.float32)
    tiles = np.repeat(np.repeat((small * noise[..., None]).clip(0, 255), tile, 0), tile, 1)
    tiles[::tile] *= 0.55
    tiles[:, ::tile] *= 0.55
    return Image.fromarray(tiles.astype(np.uint8))


def sepia(picture: Image.Image, shapes: Image.Image, rng: random.Random) -> Image.Image:
    light = np.asarray(plain(picture, shapes, rng).convert("L"), np.float32)[..., None] / 255
    y, x = np.mgrid[-1 : 1 : PIXELS * 1j, -1 : 1 : PIXELS * 1j]
    vignette = (1 - 0.28 * (x**2 + y**2))[..., None]
    toned = (light * np.array((255, 226, 178)) + (1 - light) * np.array((66, 38, 20))) * vignette
    return Image.fromarray(toned.clip(0, 255).astype(np.uint8))


NEW_STYLES: dict[str, Style] = {"blueprint": blueprint, "mosaic": mosaic, "sepia": sepia}
