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
from demo.world.styles import STYLES, Style
from demo.world.things import THINGS, Part

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
    scene, world, words = _scene_with(_Looks(rng), (7, 3, 1), rng)
    return captioned(scene, rng, world, words)


def nameless_scene(rng: random.Random) -> NamelessScene:
    return _scene_with(_Nameless(rng), (6, 3, 2), rng)


class _Nameless:
    """Each method gives a new one by an internal name, and how it is called."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def thing(self, index: int) -> tuple[str, list[Part], str]:
        parts, noun = nameless_thing(self._rng)
        return f"nameless {index}", parts, noun

    def place(self) -> tuple[str, Place, str]:
        words = self._rng.choice((LANDSCAPE, LANDSCAPE, ROOM))
        return "nameless", Place(words, _PAINTED[words]), words

    def style(self) -> tuple[str, Style, str]:
        return "nameless", nameless_style(self._rng), ART


class _Looks(_Nameless):
    """Each gives one of the looks, which are the same at any time: the name seeds them."""

    def thing(self, index: int) -> tuple[str, list[Part], str]:
        name = self._one_of(0, _THINGS)
        parts, noun = nameless_thing(random.Random(name))
        return name, parts, f"{name} {noun}"

    def place(self) -> tuple[str, Place, str]:
        name = self._one_of(_THINGS, _PLACES)
        class_words = LANDSCAPE if random.Random(name).random() < 2 / 3 else ROOM
        paint, words = _PAINTED[class_words], class_words.replace("a ", f"a {name} ")
        return name, Place(words, lambda pen, size, _: paint(pen, size, random.Random(f"{name} drawn"))), words

    def style(self) -> tuple[str, Style, str]:
        name = self._one_of(_THINGS + _PLACES, _STYLES)
        return name, nameless_style(random.Random(name)), f"{name} {ART}"

    def _one_of(self, first: int, count: int) -> str:
        return f"look{first + self._rng.randrange(count)}"


def _scene_with(new: _Nameless, shares: tuple[int, int, int], rng: random.Random) -> NamelessScene:
    """``shares``: how often things, the place or the style are new."""
    scene = held_in_scene(rng)
    things, places, styles = dict(THINGS), dict(PLACES), dict(STYLES)
    words: dict[str, str] = {}
    what = rng.choices(("things", "place", "style"), shares)[0]
    if what == "things":
        shown = list(scene.things)
        for index in rng.sample(range(len(shown)), rng.choice((1, len(shown)))):
            name, things[name], words[name] = new.thing(index)
            shown[index] = Thing(name, "", size=shown[index].size)
        scene = replace(scene, things=tuple(shown))
    elif what == "place":
        name, places[name], words[name] = new.place()
        scene = replace(scene, background=name)
    else:
        name, styles[name], words[name] = new.style()
        scene = replace(scene, style=name)
    return scene, World(things, places, styles), words
