"""The world's words and colours."""

from __future__ import annotations

import colorsys
import random

Color = tuple[int, int, int]

COLORS: dict[str, Color] = {
    "red": (214, 48, 49),
    "orange": (240, 140, 40),
    "yellow": (245, 214, 60),
    "green": (58, 168, 84),
    "blue": (52, 106, 214),
    "purple": (132, 70, 190),
    "pink": (240, 130, 180),
    "brown": (134, 86, 48),
    "white": (245, 245, 245),
    "black": (30, 30, 34),
}
PATTERNS = ("plain", "striped", "dotted", "checkered")
SIZES = {"small": 0.62, "": 0.82, "big": 1.0}


def mix(a: Color, b: Color, share: float) -> Color:
    """``share`` of b in a."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def shade(color: Color) -> Color:
    """A darker tone for details."""
    return mix(color, (0, 0, 0), 0.45)


def tint(color: Color) -> Color:
    """A lighter tone for details; darker for very light colours, so that it is seen."""
    return mix(color, (255, 255, 255), 0.55) if sum(color) < 620 else mix(color, (120, 130, 150), 0.5)


def any_color(rng: random.Random) -> Color:
    """Any colour, the strong and the pale ones more often than the muddy."""
    hue, saturation, value = rng.random(), rng.choice((0.15, 0.5, 0.75, 0.9)), rng.uniform(0.3, 1.0)
    red, green, blue = (round(255 * x) for x in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue
