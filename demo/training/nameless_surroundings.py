"""Places and styles without a name."""

from __future__ import annotations

import random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from demo.world.palette import any_color, mix
from demo.world.places import Pen
from demo.world.styles import PIXELS, Style, plain


def _scatter(pen: Pen, size: int, rng: random.Random, top: float, bottom: float) -> None:
    """Many small marks of one kind and colour."""
    color, shape = any_color(rng), rng.choice(("disc", "box", "spike", "bar"))
    width, height = size * rng.uniform(0.02, 0.12), size * rng.uniform(0.02, 0.14)
    for _ in range(rng.choice((3, 6, 12))):
        x, y = rng.uniform(0, size), size * rng.uniform(top, bottom)
        if shape == "disc":
            pen.ellipse((x - width, y - height, x + width, y + height), fill=color)
        elif shape == "box":
            pen.rectangle((x - width, y - height, x + width, y + height), fill=color)
        elif shape == "spike":
            pen.polygon((x - width, y + height, x + width, y + height, x, y - 2 * height), fill=color)
        else:
            pen.line((x, y, x, y + 3 * height), fill=color, width=max(1, size // 40))


def nameless_landscape(pen: Pen, size: int, rng: random.Random) -> None:
    high, low, level = any_color(rng), any_color(rng), rng.uniform(0.45, 0.8)
    for row in range(size):
        pen.line((0, row, size, row), fill=mix(high, low, row / size))
    if rng.random() < 0.4:
        x, y, radius = size * rng.uniform(0.1, 0.9), size * rng.uniform(0.08, 0.3), size * rng.uniform(0.05, 0.15)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=any_color(rng))
    if rng.random() < 0.4:
        _scatter(pen, size, rng, 0.0, level)
    for _ in range(rng.randint(0, 3)):
        x, wide, high_ = size * rng.uniform(0, 1), size * rng.uniform(0.25, 0.9), size * rng.uniform(0.1, 0.5)
        foot, color = size * level, any_color(rng)
        if rng.random() < 0.5:
            pen.ellipse((x - wide, foot - high_, x + wide, foot + high_), fill=color)
        else:
            top = wide * rng.choice((0.0, 0.2))
            pen.polygon((x - wide, foot, x - top, foot - high_, x + top, foot - high_, x + wide, foot), fill=color)
    pen.rectangle((0, size * level, size, size), fill=any_color(rng))
    if rng.random() < 0.6:
        _scatter(pen, size, rng, level, 1.0)


def nameless_room(pen: Pen, size: int, rng: random.Random) -> None:
    wall, second, level = any_color(rng), any_color(rng), rng.uniform(0.6, 0.85)
    pen.rectangle((0, 0, size, size), fill=wall)
    step = size / rng.choice((3, 4, 6, 8))
    rows = [step * index for index in range(1, round(size / step))]
    kind = rng.choice(("plain", "tiles", "boards", "shelves"))
    if kind in ("tiles", "boards"):
        for offset in rows:
            pen.line((offset, 0, offset, size), fill=second, width=max(1, size // 80))
            if kind == "tiles":
                pen.line((0, offset, size, offset), fill=second, width=max(1, size // 80))
    elif kind == "shelves":
        colors = [any_color(rng) for _ in range(4)]
        for offset in rows:
            x = 0.0
            while x < size and rng.random() < 0.97:
                width, height = size * rng.uniform(0.03, 0.12), step * rng.uniform(0.5, 0.9)
                pen.rectangle((x, offset - height, x + width, offset), fill=rng.choice(colors))
                x += width * rng.choice((1.05, 1.6))
            pen.rectangle((0, offset, size, offset + size * 0.03), fill=second)
    if rng.random() < 0.5:
        left, wide = size * rng.uniform(0.05, 0.6), size * rng.uniform(0.15, 0.35)
        pen.rectangle((left, size * 0.08, left + wide, size * rng.uniform(0.25, 0.4)), fill=any_color(rng), outline=second)
    pen.rectangle((0, size * level, size, size), fill=any_color(rng))


def nameless_style(rng: random.Random) -> Style:
    """Other colours, and one of: outlines, lines across, larger cells."""
    dark, light = sorted((any_color(rng), any_color(rng)), key=sum)
    toned, kept = rng.random() < 0.7, rng.choice((0.0, 0.0, 0.3, 0.6))
    over, color, step = rng.choice(("nothing", "outlines", "lines", "cells")), any_color(rng), rng.choice((5, 8, 10))

    def drawn(picture: Image.Image, shapes: Image.Image, rng: random.Random) -> Image.Image:
        if toned:
            scale = [mix(dark, light, level / 255) for level in range(256)]
            gray = picture.convert("L")
            bands = [gray.point([tone[band] for tone in scale]) for band in range(3)]
            picture = Image.blend(Image.merge("RGB", bands), picture, kept)
        elif over in ("nothing", "cells"):
            picture = Image.merge("RGB", rng.choice((picture.split()[::-1], ImageChops.invert(picture).split())))
        if over == "outlines":
            edge = ImageChops.subtract(shapes.filter(ImageFilter.MaxFilter(9)), shapes.filter(ImageFilter.MinFilter(5)))
            picture.paste(color, (0, 0), edge)
        elif over == "lines":
            pen, width = ImageDraw.Draw(picture), max(1, picture.width // 80)
            for offset in range(0, picture.width, picture.width // step):
                pen.line((0, offset, picture.width, offset), fill=color, width=width)
        small = plain(picture, shapes, rng)
        if over == "cells":
            side = PIXELS // 2 // step * 2
            cells = small.resize((side, side), Image.Resampling.BOX)
            small = cells.resize((PIXELS, PIXELS), Image.Resampling.NEAREST)
        return small

    return drawn
