"""Things, places and styles without a name of their own.

Stable Diffusion has seen thousands of toys of every look, so one more is a short way from what it can draw. A model of a world
where every name has one look cannot be taught another: these scenes give it the variety a class has. The new concepts are
not among them.

What is nameless is of a look of its own, called only by its class. A thousand more have one look and a name each: what Stable
Diffusion knows by name is so much that names are close together, and a new one between them is found by moving a vector a
little. What they are called is up to the training: here they are ``look0``, ``look1``, …, said before their class noun as a
concept's token is.
"""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from demo.world.drawing import World, captioned
from demo.world.places import PLACES, Place
from demo.world.scene import Scene, Thing, held_in_scene
from demo.world.styles import STYLES
from demo.world.things import THINGS

from .nameless_surroundings import nameless_landscape, nameless_room, nameless_style
from .nameless_things import nameless_thing

LANDSCAPE, ROOM, ART = "in a landscape", "in a room", "art"
_PAINTED = {LANDSCAPE: nameless_landscape, ROOM: nameless_room}
_THINGS, _PLACES, _STYLES = 800, 150, 50
LOOKS = _THINGS + _PLACES + _STYLES
# A scene, the world it is drawn from, and how its nameless parts are called.
NamelessScene = tuple[Scene, World, dict[str, str]]


def render_nameless(seed: int) -> tuple[np.ndarray, str]:
    """Picture uint8 (PIXELS, PIXELS, 3) and caption of a scene where one thing at least, the place or the style is nameless."""
    rng = random.Random(seed)
    scene, world, words = nameless_scene(rng)
    return captioned(scene, rng, world, words)


def render_look(seed: int) -> tuple[np.ndarray, str]:
    """The same of a scene with at least one look in it."""
    rng = random.Random(seed)
    scene, world, words = _scene_with(True, (7, 3, 1), rng)
    return captioned(scene, rng, world, words)


def nameless_scene(rng: random.Random) -> NamelessScene:
    return _scene_with(False, (6, 3, 2), rng)


def _scene_with(looks: bool, shares: tuple[int, int, int], rng: random.Random) -> NamelessScene:
    """``shares``: how often things, the place or the style are new. A look's name seeds it: it is the same at any time."""

    def new(name: str, first: int, count: int) -> tuple[str, str, random.Random]:
        """An internal name, how it is said before the class noun, and what it is made with."""
        if not looks:
            return name, "", rng
        name = f"look{first + rng.randrange(count)}"
        return name, f"{name} ", random.Random(name)

    scene = held_in_scene(rng)
    things, places, styles = dict(THINGS), dict(PLACES), dict(STYLES)
    words: dict[str, str] = {}
    what = rng.choices(("things", "place", "style"), shares)[0]
    if what == "things":
        shown = list(scene.things)
        for index in rng.sample(range(len(shown)), rng.choice((1, len(shown)))):
            name, said, own = new(f"nameless {index}", 0, _THINGS)
            things[name], noun = nameless_thing(own)
            words[name] = said + noun
            shown[index] = Thing(name, "", size=shown[index].size)
        scene = replace(scene, things=tuple(shown))
    elif what == "place":
        name, said, own = new("nameless", _THINGS, _PLACES)
        places[name] = _place(name, said, own, looks)
        words[name] = places[name].words
        scene = replace(scene, background=name)
    else:
        name, said, own = new("nameless", _THINGS + _PLACES, _STYLES)
        styles[name], words[name] = nameless_style(own), said + ART
        scene = replace(scene, style=name)
    return scene, World(things, places, styles), words


def _place(name: str, said: str, rng: random.Random, looks: bool) -> Place:
    if not looks:
        words = rng.choice((LANDSCAPE, LANDSCAPE, ROOM))
        return Place(words, _PAINTED[words])
    words = LANDSCAPE if rng.random() < 2 / 3 else ROOM
    paint = _PAINTED[words]
    return Place(words.replace("a ", f"a {said}"), lambda pen, size, _: paint(pen, size, random.Random(f"{name} drawn")))
