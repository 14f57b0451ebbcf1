"""Things without a name: mirrored parts put together, or a named thing in other colours and shapes."""

from __future__ import annotations

import random

from demo.world.palette import Color, any_color, shade
from demo.world.things import KINDS, THINGS, Part, box, ellipse, ring

_SHAPES = ("ellipse", "ellipse", "box", "triangle", "trapezoid", "bar", "ring")
_DETAILS = ("#18181c", "#fafafa")


def nameless_thing(rng: random.Random) -> tuple[list[Part], str]:
    """Parts, and the noun: a kind for an assembled one, a name for a changed one."""
    if rng.random() < 0.6:
        return _assembled(rng), rng.choice(list(KINDS))
    name = rng.choice(list(THINGS))
    return _changed(THINGS[name], rng), name


def _assembled(rng: random.Random) -> list[Part]:
    """Mirrored parts behind and before one to three large ones, and details on them."""
    tones = [_hex(any_color(rng)) for _ in range(3)]
    parts: list[Part] = []
    for _ in range(rng.randint(0, 3)):
        parts += _pair(rng.choice(tones), rng, 0.3, 0.75, 0.1, 0.4)
    y = rng.uniform(-0.2, 0.4)
    for _ in range(rng.randint(1, 3)):
        parts.append(_part(rng.choice(tones), rng, 0, y, rng.uniform(0.25, 0.75), rng.uniform(0.2, 0.6)))
        y += rng.choice((-1, 1)) * rng.uniform(0.3, 0.6)
        y = min(0.5, max(-0.6, y))
    return parts + _details([*tones, *_DETAILS], rng, rng.randint(1, 4))


def _changed(parts: list[Part], rng: random.Random) -> list[Part]:
    """A named thing in other colours, stretched, with something added."""
    tones = {tone: _hex(any_color(rng)) for tone in dict.fromkeys(part[0] for part in parts) if rng.random() < 0.8}
    tones = {tone: tones.get(tone, "#c0c0c0" if tone in ("body", "shade", "tint") else tone) for tone, *_ in parts}
    if "body" in tones and "shade" in tones and rng.random() < 0.5:
        tones["shade"] = _hex(shade(any_color(rng)))
    wide, high = rng.uniform(0.75, 1.1), rng.uniform(0.75, 1.1)
    stretched = [(tones[tone], shape, _stretch(shape, numbers, wide, high)) for tone, shape, numbers in parts]
    return stretched + _details([_hex(any_color(rng)), *_DETAILS], rng, rng.randint(0, 3))


def _stretch(shape: str, numbers: list[float], wide: float, high: float) -> list[float]:
    first = 1 if shape == "line" else 0  # its width
    last = first + 4 if shape in ("pie", "ring") else len(numbers)  # then angles, or a width
    return [n * (high if (i - first) % 2 else wide) if first <= i < last else n for i, n in enumerate(numbers)]


def _details(tones: list[str], rng: random.Random, count: int) -> list[Part]:
    parts: list[Part] = []
    for _ in range(count):
        tone = rng.choice(tones)
        if rng.random() < 0.5:
            parts += _pair(tone, rng, 0.1, 0.4, 0.06, 0.16)
        else:
            y, rx, ry = rng.uniform(-0.7, 0.7), rng.uniform(0.06, 0.4), rng.uniform(0.05, 0.25)
            parts.append(_part(tone, rng, 0, y, rx, ry))
    return parts


def _pair(tone: str, rng: random.Random, near: float, far: float, small: float, large: float) -> list[Part]:
    """A part and its mirror image."""
    x, y = rng.uniform(near, far), rng.uniform(-0.75, 0.75)
    rx, ry = min(0.95 - x, rng.uniform(small, large)), min(0.95 - abs(y), rng.uniform(small, large))
    state = rng.getstate()
    right = _part(tone, rng, x, y, rx, ry)
    rng.setstate(state)
    return [right, _part(tone, rng, -x, y, rx, ry, -1)]


def _part(tone: str, rng: random.Random, x: float, y: float, rx: float, ry: float, side: int = 1) -> Part:
    shape, lean = rng.choice(_SHAPES), rng.uniform(-0.8, 0.8)
    up = rng.choice((-1, 1))
    if shape == "ellipse":
        return ellipse(tone, x, y, rx, ry)
    if shape == "box":
        return box(tone, x - rx, y - ry, x + rx, y + ry)
    if shape == "triangle":
        return tone, "polygon", [x - rx, y + up * ry, x + rx, y + up * ry, x + side * lean * rx, y - up * ry]
    if shape == "trapezoid":
        top = rx * rng.uniform(0.3, 0.8)
        return tone, "polygon", [x - rx, y + up * ry, x + rx, y + up * ry, x + top, y - up * ry, x - top, y - up * ry]
    if shape == "bar":
        return tone, "line", [rng.uniform(0.06, 0.2), x - side * rx, y - lean * ry, x + side * rx, y + lean * ry]
    return ring(tone, x, y, rx, ry, rng.uniform(0.05, 0.14))


def _hex(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
