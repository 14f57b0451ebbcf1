"""Scenes: what is in a picture, how it is drawn, and how it is described."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from .palette import COLORS, PATTERNS, SIZES, STYLES, Color, shade, tint
from .places import PLACES, background_words, draw_background
from .things import KINDS, THINGS, Part

PIXELS = 64
_SUPERSAMPLING = 4
_FIXED_TONES: dict[str, Color] = {
    "ink": (24, 24, 28),
    "paper": (250, 250, 250),
    "wood": (116, 76, 44),
    "leaf": (52, 140, 70),
    "gold": (246, 200, 70),
    "cream": (240, 226, 200),
    "pinkish": (236, 130, 140),
}


@dataclass(frozen=True)
class Thing:
    name: str
    color: str
    pattern: str = "plain"
    size: str = ""


@dataclass(frozen=True)
class Scene:
    """One to three things; ``relation`` places the first two; ``background`` is a colour or a place."""

    things: tuple[Thing, ...]
    background: str
    style: str = ""
    relation: str = "left of"


def describe(thing: Thing, chance: random.Random) -> str:
    """``a big striped red star``; now and then the kind of thing for its name."""
    name = thing.name
    if chance.random() < 0.08:
        name = next((kind for kind, names in KINDS.items() if name in names), name)
    pattern = "" if thing.pattern == "plain" else thing.pattern
    words = " ".join(word for word in (thing.size, pattern, thing.color, name) if word)
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def caption(scene: Scene, chance: random.Random) -> str:
    """A description of all that is asked for; wording varies with ``chance``."""
    phrases = [describe(thing, chance) for thing in scene.things]
    if len(phrases) == 1:
        text = phrases[0]
    elif len(phrases) == 2:
        text = f" {scene.relation} ".join(phrases) if chance.random() < 0.6 else " and ".join(phrases)
    else:
        text = f"{phrases[0]}, {phrases[1]} and {phrases[2]}"
    opening = chance.choice(("", "", "", "a picture of ", "a photo of ", "a drawing of "))
    text = f"{opening}{text} {background_words(scene.background)}"
    return f"{text}, {scene.style}" if scene.style else text


def draw(scene: Scene, chance: random.Random, things: Mapping[str, list[Part]] = THINGS) -> Image.Image:
    """The scene as RGB, PIXELS × PIXELS; positions, turns and details vary with ``chance``."""
    size = PIXELS * _SUPERSAMPLING
    picture = draw_background(scene.background, size, chance)
    shapes = Image.new("L", (size, size))
    for thing, (x, y, radius) in zip(scene.things, _layout(scene, chance), strict=True):
        scale = radius * SIZES[thing.size] * chance.uniform(0.95, 1.05) * size
        _draw_thing(picture, shapes, thing, things[thing.name], (x * size, y * size), scale, chance.uniform(-8, 8))
    return _STYLES[scene.style](picture, shapes, chance)


def _layout(scene: Scene, chance: random.Random) -> list[tuple[float, float, float]]:
    """Centre and radius of each thing as shares of the picture."""

    def near(value: float, spread: float = 0.03) -> float:
        return value + chance.uniform(-spread, spread)

    if len(scene.things) == 1:
        return [(near(0.5, 0.1), near(0.53, 0.08), 0.38)]
    if len(scene.things) == 2:
        if scene.relation == "left of":
            return [(near(0.27), near(0.54, 0.08), 0.24), (near(0.73), near(0.54, 0.08), 0.24)]
        return [(near(0.5, 0.1), near(0.27), 0.24), (near(0.5, 0.1), near(0.74), 0.24)]
    return [
        (near(0.2, 0.02), near(0.5, 0.12), 0.17),
        (near(0.5, 0.02), near(0.5, 0.12), 0.17),
        (near(0.8, 0.02), near(0.5, 0.12), 0.17),
    ]


def _draw_thing(
    picture: Image.Image,
    shapes: Image.Image,
    thing: Thing,
    parts: list[Part],
    centre: tuple[float, float],
    radius: float,
    degrees: float,
) -> None:
    side = 2 * math.ceil(radius) + 4
    layer, body = Image.new("RGBA", (side, side)), Image.new("L", (side, side))
    color = COLORS[thing.color]
    tones = {**_FIXED_TONES, "body": color, "shade": shade(color), "tint": tint(color)}
    for tone, shape, numbers in parts:
        mask = Image.new("L", (side, side))
        _draw_shape(mask, shape, numbers, side / 2, radius)
        paint = Image.new("RGBA", (side, side), (*tones[tone], 255))
        if tone == "body":
            paint = _patterned(paint, thing.pattern, tones["tint"])
        layer.paste(paint, (0, 0), mask)
        body = ImageChops.lighter(body, mask)
    layer, body = layer.rotate(degrees, Image.Resampling.BICUBIC), body.rotate(degrees, Image.Resampling.BICUBIC)
    corner = (round(centre[0] - side / 2), round(centre[1] - side / 2))
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
    step = side / 6
    for row in range(7):
        if pattern == "striped":
            pen.rectangle((0, row * step, side, row * step + step * 0.45), fill=(*color, 255))
        for column in range(7):
            x, y = column * step, row * step
            if pattern == "dotted":
                pen.ellipse((x + step * 0.2, y + step * 0.2, x + step * 0.75, y + step * 0.75), fill=(*color, 255))
            elif pattern == "checkered" and (row + column) % 2:
                pen.rectangle((x, y, x + step, y + step), fill=(*color, 255))
    return paint


def _plain(picture: Image.Image, shapes: Image.Image, chance: random.Random) -> Image.Image:
    return picture.resize((PIXELS, PIXELS), Image.Resampling.BOX)


def _pixel_art(picture: Image.Image, shapes: Image.Image, chance: random.Random) -> Image.Image:
    blocks = picture.resize((PIXELS // 2, PIXELS // 2), Image.Resampling.BOX)
    return blocks.resize((PIXELS, PIXELS), Image.Resampling.NEAREST)


def _ink_outline(picture: Image.Image, shapes: Image.Image, chance: random.Random) -> Image.Image:
    edge = ImageChops.subtract(shapes.filter(ImageFilter.MaxFilter(13)), shapes.filter(ImageFilter.MinFilter(5)))
    picture.paste((12, 12, 14), (0, 0), edge)
    return _plain(picture, shapes, chance)


def _neon(picture: Image.Image, shapes: Image.Image, chance: random.Random) -> Image.Image:
    glowing = Image.blend(picture, Image.new("RGB", picture.size, (8, 4, 20)), 0.66)
    halo = shapes.filter(ImageFilter.MaxFilter(9)).filter(ImageFilter.GaussianBlur(9))
    glowing.paste((120, 250, 250), (0, 0), halo)
    glowing.paste(picture, (0, 0), shapes)
    return _plain(glowing, shapes, chance)


def _watercolor(picture: Image.Image, shapes: Image.Image, chance: random.Random) -> Image.Image:
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(5)).resize((PIXELS, PIXELS), Image.Resampling.BOX), np.float32)
    noise = np.random.default_rng(chance.getrandbits(32)).standard_normal((PIXELS // 8, PIXELS // 8)).astype(np.float32)
    wash = np.asarray(Image.fromarray(noise).resize((PIXELS, PIXELS), Image.Resampling.BICUBIC))[..., None]
    paper = np.array((250, 246, 236), np.float32)
    washed = paper + (soft - paper) * (0.62 + 0.16 * wash)
    return Image.fromarray(washed.clip(0, 255).astype(np.uint8))


_STYLES = dict(zip(STYLES, (_plain, _pixel_art, _ink_outline, _neon, _watercolor), strict=True))


def _contrasting(color: str, others: list[str], chance: random.Random) -> str:
    """Another colour, and one that is told apart at a glance from ``others``."""
    close = {
        frozenset(("red", "orange")),
        frozenset(("orange", "yellow")),
        frozenset(("red", "brown")),
        frozenset(("pink", "white")),
    }
    fine = [c for c in COLORS if all(c != o and frozenset((c, o)) not in close for o in others)]
    return color if color in fine else chance.choice(fine)


def random_scene(chance: random.Random) -> Scene:
    """Any scene of the world: 50 % one thing, 35 % two, 15 % three."""
    background = chance.choice(list(COLORS)) if chance.random() < 0.45 else chance.choice(list(PLACES))
    count = chance.choices((1, 2, 3), (50, 35, 15))[0]
    taken, things = [background] if background in COLORS else [], []
    for name in chance.sample(list(THINGS), count):
        color = _contrasting(chance.choice(list(COLORS)), taken, chance)
        pattern = chance.choice(PATTERNS) if chance.random() < 0.4 else "plain"
        size = chance.choice(list(SIZES)) if count == 1 else ""
        things.append(Thing(name, color, pattern, size))
        taken.append(color)
    style = chance.choice(STYLES[1:]) if chance.random() < 0.3 else ""
    return Scene(tuple(things), background, style, chance.choice(("left of", "above")))


def render(seed: int) -> tuple[np.ndarray, str, Scene]:
    """Picture uint8 (PIXELS, PIXELS, 3), caption and scene number ``seed`` of the world."""
    chance = random.Random(seed)
    scene = random_scene(chance)
    picture = np.asarray(draw(scene, chance))
    return picture, caption(scene, chance), scene
