"""Draws scenes."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageColor, ImageDraw

from .palette import COLORS, SIZES, Color, shade, tint
from .places import PLACES, Place
from .scene import Scene, Thing, caption, held_in_scene
from .styles import PIXELS, STYLES, Style
from .things import THINGS, Part

_SUPERSAMPLING = 2
_PATTERN_CELLS = 4  # stripes, dots or checks across a thing: no finer than the picture can show of a small one
# By the number of things and the relation of two: x, how far it may vary, y, how far it may vary; then the radius.
_LAYOUTS = {
    (1, ""): ([(0.5, 0.1, 0.53, 0.08)], 0.38),
    (2, "left of"): ([(0.26, 0.02, 0.54, 0.08), (0.74, 0.02, 0.54, 0.08)], 0.255),
    (2, "above"): ([(0.5, 0.1, 0.26, 0.02), (0.5, 0.1, 0.74, 0.02)], 0.255),
    (3, ""): ([(0.18, 0.01, 0.5, 0.12), (0.5, 0.01, 0.5, 0.12), (0.82, 0.01, 0.5, 0.12)], 0.18),
}


@dataclass(frozen=True)
class World:
    """What scenes can be made of, by name."""

    things: Mapping[str, list[Part]]
    places: Mapping[str, Place]
    styles: Mapping[str, Style]


WORLD = World(THINGS, PLACES, STYLES)


def draw(scene: Scene, rng: random.Random, world: World) -> Image.Image:
    """The scene as RGB, PIXELS × PIXELS; positions, turns and details vary with ``rng``."""
    size = PIXELS * _SUPERSAMPLING
    picture = _background(scene.background, size, rng, world)
    shapes = Image.new("L", (size, size))
    for thing, (x, y, radius) in zip(scene.things, _layout(scene, rng), strict=True):
        scale = radius * SIZES[thing.size] * rng.uniform(0.95, 1.05) * size
        _draw_thing(picture, shapes, thing, world.things[thing.name], (x * size, y * size, scale), rng.uniform(-8, 8))
    return world.styles[scene.style](picture, shapes, rng)


def captioned(scene: Scene, rng: random.Random, world: World, words: Mapping[str, str] | None = None) -> tuple[np.ndarray, str]:
    """Picture uint8 (PIXELS, PIXELS, 3) and a caption; ``words`` rename things, places and styles."""
    return np.asarray(draw(scene, rng, world)), caption(scene, rng, words)


def render(seed: int) -> tuple[np.ndarray, str]:
    """Scene number ``seed`` of the training world."""
    rng = random.Random(seed)
    return captioned(held_in_scene(rng), rng, WORLD)


def _background(name: str, size: int, rng: random.Random, world: World) -> Image.Image:
    if name in COLORS:
        return Image.new("RGB", (size, size), COLORS[name])
    picture = Image.new("RGB", (size, size))
    world.places[name].draw(ImageDraw.Draw(picture), size, rng)
    return picture


def _layout(scene: Scene, rng: random.Random) -> list[tuple[float, float, float]]:
    """Centre and radius of each thing as shares of the picture."""
    around, radius = _LAYOUTS[len(scene.things), scene.relation if len(scene.things) == 2 else ""]
    return [(x + rng.uniform(-dx, dx), y + rng.uniform(-dy, dy), radius) for x, dx, y, dy in around]


def _draw_thing(
    picture: Image.Image, shapes: Image.Image, thing: Thing, parts: list[Part], at: tuple[float, float, float], degrees: float
) -> None:
    """``at``: centre and radius in pixels."""
    x, y, radius = at
    side = 2 * math.ceil(radius) + 4
    layer, body = Image.new("RGBA", (side, side)), Image.new("L", (side, side))
    color = COLORS.get(thing.color, (0, 0, 0))  # what has no colour of its own has fixed ones only
    tones = {"body": color, "shade": shade(color), "tint": tint(color)}
    for tone, shape, numbers in parts:
        mask = Image.new("L", (side, side))
        _draw_shape(mask, shape, numbers, side / 2, radius)
        paint = Image.new("RGBA", (side, side), tones.get(tone) or ImageColor.getrgb(tone))
        if tone == "body":
            paint = _patterned(paint, thing.pattern, tones["tint"])
        layer.paste(paint, (0, 0), mask)
        body = ImageChops.lighter(body, mask)
    layer, body = layer.rotate(degrees, Image.Resampling.BICUBIC), body.rotate(degrees, Image.Resampling.BICUBIC)
    corner = (round(x - side / 2), round(y - side / 2))
    picture.paste(layer, corner, body)
    shapes.paste(255, corner, body)


def _draw_shape(mask: Image.Image, shape: str, numbers: list[float], middle: float, radius: float) -> None:
    pen = ImageDraw.Draw(mask)
    if shape == "pie":
        pen.pieslice([middle + radius * n for n in numbers[:4]], numbers[4], numbers[5], fill=255)
    elif shape == "line":
        points = [middle + radius * n for n in numbers[1:]]
        pen.line(points, fill=255, width=max(1, round(radius * numbers[0])), joint="curve")
    elif shape == "ring":
        pen.ellipse([middle + radius * n for n in numbers[:4]], outline=255, width=max(1, round(radius * numbers[4])))
    else:
        points = [middle + radius * n for n in numbers]
        (pen.ellipse if shape == "ellipse" else pen.polygon)(points, fill=255)


def _patterned(paint: Image.Image, pattern: str, color: Color) -> Image.Image:
    pen, side = ImageDraw.Draw(paint), paint.width
    step = side / _PATTERN_CELLS
    for row in range(_PATTERN_CELLS):
        if pattern == "striped":
            pen.rectangle((0, row * step, side, row * step + step * 0.45), fill=(*color, 255))
        for column in range(_PATTERN_CELLS):
            x, y = column * step, row * step
            if pattern == "dotted":
                pen.ellipse((x + step * 0.2, y + step * 0.2, x + step * 0.75, y + step * 0.75), fill=(*color, 255))
            elif pattern == "checkered" and (row + column) % 2:
                pen.rectangle((x, y, x + step, y + step), fill=(*color, 255))
    return paint
