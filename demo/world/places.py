"""Places behind the things, drawn with a little chance in them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from PIL import ImageDraw

from .palette import Color, mix

Pen = ImageDraw.ImageDraw


@dataclass(frozen=True)
class Place:
    """``words`` put a thing there; ``draw`` takes a pen, the picture's size and a random generator."""

    words: str
    draw: Callable[[Pen, int, random.Random], None]


def _sky(pen: Pen, size: int, top: Color, bottom: Color, until: float = 1.0) -> None:
    rows = round(size * until)
    for row in range(rows):
        pen.line((0, row, size, row), fill=mix(top, bottom, row / max(1, rows - 1)))


def _ground(pen: Pen, size: int, level: float, color: Color) -> None:
    pen.rectangle((0, round(size * level), size, size), fill=color)


def beach(pen: Pen, size: int, rng: random.Random) -> None:
    _sky(pen, size, (120, 190, 240), (200, 230, 250), 0.4)
    pen.rectangle((0, size * 0.38, size, size * 0.6), fill=(40, 130, 190))
    _ground(pen, size, 0.6, (236, 212, 150))
    x = size * rng.uniform(0.1, 0.9)
    pen.ellipse((x - size * 0.07, size * 0.06, x + size * 0.07, size * 0.2), fill=(255, 236, 130))


def meadow(pen: Pen, size: int, rng: random.Random) -> None:
    _sky(pen, size, (130, 190, 240), (215, 235, 250), 0.5)
    pen.rectangle((0, size * 0.5, size, size), fill=(120, 185, 90))
    hill = size * rng.uniform(0.2, 0.8)
    pen.ellipse((hill - size * 0.8, size * 0.38, hill + size * 0.8, size * 1.4), fill=(120, 185, 90))
    _ground(pen, size, 0.62, (96, 165, 72))
    for _ in range(12):
        x, y = rng.uniform(0, size), size * rng.uniform(0.66, 0.98)
        pen.ellipse((x, y, x + size * 0.02, y + size * 0.02), fill=rng.choice(((255, 255, 255), (250, 220, 80))))


def desert(pen: Pen, size: int, rng: random.Random) -> None:
    _sky(pen, size, (250, 190, 120), (252, 226, 180), 0.62)
    pen.rectangle((0, size * 0.6, size, size), fill=(222, 160, 90))
    for level, color in ((0.5, (222, 160, 90)), (0.66, (236, 180, 108))):
        x = size * rng.uniform(0.1, 0.9)
        pen.ellipse((x - size, size * level, x + size, size * (level + 1.2)), fill=color)


def night(pen: Pen, size: int, rng: random.Random) -> None:
    _sky(pen, size, (12, 14, 44), (40, 40, 96))
    for _ in range(30):
        x, y, r = rng.uniform(0, size), rng.uniform(0, size), size * rng.uniform(0.003, 0.009)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=(250, 250, 220))


def city(pen: Pen, size: int, rng: random.Random) -> None:
    _sky(pen, size, (150, 170, 195), (210, 220, 230), 0.8)
    x = 0.0
    while x < size:
        width, top = size * rng.uniform(0.1, 0.2), size * rng.uniform(0.15, 0.5)
        tone = mix((90, 100, 115), (140, 150, 165), rng.random())
        pen.rectangle((x, top, x + width - 1, size * 0.8), fill=tone)
        for row in range(3):
            for column in range(2):
                left, up = x + width * (0.2 + 0.4 * column), top + size * (0.05 + 0.1 * row)
                pen.rectangle((left, up, left + width * 0.2, up + size * 0.04), fill=(245, 225, 140))
        x += width
    _ground(pen, size, 0.78, (80, 84, 90))


def sea(pen: Pen, size: int, rng: random.Random) -> None:
    _sky(pen, size, (30, 120, 180), (10, 50, 110))
    for _ in range(10):
        x, y, r = rng.uniform(0, size), rng.uniform(0, size), size * rng.uniform(0.01, 0.03)
        pen.ellipse((x - r, y - r, x + r, y + r), outline=(170, 220, 245), width=max(1, size // 100))
    for _ in range(5):
        x = rng.uniform(0, size)
        pen.line((x, size, x + size * 0.04, size * 0.8, x - size * 0.02, size * 0.68), fill=(40, 140, 90), width=size // 32)


def forest(pen: Pen, size: int, rng: random.Random) -> None:
    _sky(pen, size, (160, 200, 170), (200, 220, 190), 0.75)
    for index in range(9):
        x, height = size * (index / 8 + rng.uniform(-0.05, 0.05)), size * rng.uniform(0.4, 0.65)
        tone = mix((24, 70, 44), (48, 106, 66), rng.random())
        foot = size * 0.8
        pen.polygon((x - size * 0.1, foot, x + size * 0.1, foot, x, foot - height), fill=tone)
    _ground(pen, size, 0.76, (70, 92, 50))


def snow(pen: Pen, size: int, rng: random.Random) -> None:
    _sky(pen, size, (170, 195, 220), (225, 235, 245), 0.6)
    x = size * rng.uniform(0.2, 0.8)
    pen.polygon((x - size * 0.5, size * 0.62, x, size * 0.15, x + size * 0.5, size * 0.62), fill=(140, 160, 185))
    pen.polygon((x - size * 0.14, size * 0.28, x, size * 0.15, x + size * 0.14, size * 0.28), fill=(250, 250, 255))
    _ground(pen, size, 0.6, (240, 245, 252))


def kitchen(pen: Pen, size: int, rng: random.Random) -> None:
    pen.rectangle((0, 0, size, size), fill=(232, 226, 208))
    step = size // 8
    for x in range(0, size, step):
        pen.line((x, 0, x, size * 0.65), fill=(214, 206, 186))
    for y in range(0, round(size * 0.65), step):
        pen.line((0, y, size, y), fill=(214, 206, 186))
    _ground(pen, size, 0.66, (150, 106, 70))
    left = size * rng.uniform(0.08, 0.6)
    pen.rectangle(
        (left, size * 0.08, left + size * 0.3, size * 0.36), fill=(160, 205, 235), outline=(120, 90, 60), width=size // 48
    )


PLACES: dict[str, Place] = {
    "beach": Place("on a beach", beach),
    "meadow": Place("in a meadow", meadow),
    "desert": Place("in the desert", desert),
    "night": Place("in the night sky", night),
    "city": Place("in the city", city),
    "sea": Place("under the sea", sea),
    "forest": Place("in a forest", forest),
    "snow": Place("in the snow", snow),
    "kitchen": Place("in a kitchen", kitchen),
}
