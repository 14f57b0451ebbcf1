"""Things, places and styles without a name, each of a look of its own, called only by their class.

Stable Diffusion has seen thousands of toys of every look, so one more is a short way from what it can draw. A model of a world
where every name has one look cannot be taught another: these scenes give it the variety a class has. The new concepts are
not among them.
"""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from .drawing import World, draw
from .nameless_surroundings import nameless_landscape, nameless_room, nameless_style
from .nameless_things import nameless_thing
from .places import PLACES, Place
from .scene import Scene, Thing, caption, held_in_scene
from .styles import STYLES
from .things import THINGS

LANDSCAPE, ROOM, ART = "in a landscape", "in a room", "art"


def render_nameless(seed: int) -> tuple[np.ndarray, str]:
    """Picture uint8 (PIXELS, PIXELS, 3) and caption of a scene where one thing at least, the place or the style is nameless."""
    rng = random.Random(seed)
    scene, world, words = nameless_scene(rng)
    return np.asarray(draw(scene, rng, world)), caption(scene, rng, words)


def nameless_scene(rng: random.Random) -> tuple[Scene, World, dict[str, str]]:
    """A scene, the world it is drawn from, and how its nameless parts are called."""
    scene = held_in_scene(rng)
    things, places, styles = dict(THINGS), dict(PLACES), dict(STYLES)
    words: dict[str, str] = {}
    what = rng.choices(("things", "place", "style"), (6, 3, 2))[0]
    if what == "things":
        shown = list(scene.things)
        for index in rng.sample(range(len(shown)), rng.choice((1, len(shown)))):
            name = f"nameless {index}"
            things[name], words[name] = nameless_thing(rng)
            shown[index] = Thing(name, "", size=shown[index].size)
        scene = replace(scene, things=tuple(shown))
    elif what == "place":
        scene = replace(scene, background="nameless")
        words["nameless"] = rng.choice((LANDSCAPE, LANDSCAPE, ROOM))
        places["nameless"] = Place(words["nameless"], nameless_landscape if words["nameless"] == LANDSCAPE else nameless_room)
    else:
        scene, words["nameless"] = replace(scene, style="nameless"), ART
        styles["nameless"] = nameless_style(rng)
    return scene, World(things, places, styles), words
