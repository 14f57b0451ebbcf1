"""Scenes with the new concepts, for the autoencoder and the judges, never for the UNet; some with nameless things too."""

from __future__ import annotations

import random

import numpy as np

from demo.judges.recognizer import ALL_STYLES, BACKGROUNDS, COLORLESS, PRESENT, asked_for
from demo.world.drawing import World, draw
from demo.world.new_concepts import EXTENDED_WORLD, NEW_CONCEPTS
from demo.world.new_surroundings import NEW_PLACES, NEW_STYLES
from demo.world.scene import Scene, Thing, prompt, random_scene
from demo.world.things import NEW_THINGS, THINGS

from .nameless import nameless_scene
from .pictures import PictureSet

_NAMELESS_SHARE = 0.2
UNKNOWN = -100  # a background or style without a name, or that cannot be told; cross_entropy passes over it


def extended_scene(rng: random.Random) -> Scene:
    """A scene of the world where half the time something is one of the new concepts."""
    scene = random_scene(rng)
    things = list(scene.things)
    if rng.random() < 0.4:
        things[rng.randrange(len(things))] = Thing(rng.choice(list(NEW_THINGS)), "")
        if len(things) > 1 and rng.random() < 0.3:
            others = [name for name in NEW_THINGS if name not in {thing.name for thing in things}]
            things[next(i for i, t in enumerate(things) if t.name not in NEW_THINGS)] = Thing(rng.choice(others), "")
    background = rng.choice(list(NEW_PLACES)) if rng.random() < 0.2 else scene.background
    style = rng.choice(list(NEW_STYLES)) if rng.random() < 0.15 else scene.style
    return Scene(tuple(things), background, style, scene.relation)


def judged(seed: int) -> tuple[np.ndarray, dict]:
    """A picture and what the judges learn of it. New concepts are called by their own name or by their class."""
    rng = random.Random(seed)
    if rng.random() < _NAMELESS_SHARE:
        scene, world, words = _without_doubt(rng)
    else:
        scene, world = extended_scene(rng), EXTENDED_WORLD
        own = rng.random() < 0.5
        words = {name: concept.pattern.format(name) if own else concept.words() for name, concept in NEW_CONCEPTS.items()}
    picture = np.asarray(draw(scene, rng, world))
    told = scene.style in ALL_STYLES and scene.style not in COLORLESS
    background = scene.background if told and scene.background in BACKGROUNDS else ""
    named = [thing.name for thing in scene.things if thing.name in PRESENT]
    colored = [what for what in asked_for(scene) if isinstance(what, tuple)]
    record = {
        "caption": prompt(scene, words, joined=rng.random() < 0.3),
        "count": len(named),
        "present": [PRESENT.index(what) for what in (*named, *colored)],
        "background": BACKGROUNDS.index(background) if background else UNKNOWN,
        "style": ALL_STYLES.index(scene.style) if scene.style in ALL_STYLES else UNKNOWN,
        "new": bool(NEW_CONCEPTS.keys() & {*named, background, scene.style}),
        "nameless": world is not EXTENDED_WORLD,
    }
    return picture, record


def _without_doubt(rng: random.Random) -> tuple[Scene, World, dict[str, str]]:
    """A scene with something nameless. None is a changed hat, say, which may or may not pass for a hat."""
    while True:
        scene, world, words = nameless_scene(rng)
        if not set(words.values()) & set(THINGS):
            return scene, world, words


EXTENDED = PictureSet("extended_pictures", 60_000, 30_000_000, judged)
