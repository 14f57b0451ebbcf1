"""A thousand things, places and styles with a look and a name each.

What Stable Diffusion knows by name is so much that names are close together, and a new one between them is found by moving a
vector a little. These are the demo model's share of that. What they are called is up to the training: here they are ``look0``,
``look1``, …, said before their class noun as a concept's token is.
"""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from .drawing import World, draw
from .nameless import ART, LANDSCAPE, ROOM
from .nameless_surroundings import nameless_landscape, nameless_room, nameless_style
from .nameless_things import nameless_thing
from .places import PLACES, Place
from .scene import Scene, Thing, caption, held_in_scene
from .styles import STYLES
from .things import THINGS

_THINGS, _PLACES, _STYLES = 800, 150, 50
LOOKS = _THINGS + _PLACES + _STYLES


def render_look(seed: int) -> tuple[np.ndarray, str]:
    """Picture uint8 (PIXELS, PIXELS, 3) and caption of a scene with at least one look in it."""
    rng = random.Random(seed)
    scene, world, words = look_scene(rng)
    return np.asarray(draw(scene, rng, world)), caption(scene, rng, words)


def look_scene(rng: random.Random) -> tuple[Scene, World, dict[str, str]]:
    """A scene, the world it is drawn from, and how its looks are called."""
    scene = held_in_scene(rng)
    things, places, styles = dict(THINGS), dict(PLACES), dict(STYLES)
    words: dict[str, str] = {}
    what = rng.choices(("things", "place", "style"), (7, 3, 1))[0]
    if what == "things":
        shown = list(scene.things)
        for index in rng.sample(range(len(shown)), rng.choice((1, len(shown)))):
            number = rng.randrange(_THINGS)
            name = f"look{number}"
            things[name], noun = nameless_thing(random.Random(name))
            words[name] = f"{name} {noun}"
            shown[index] = Thing(name, "", size=shown[index].size)
        scene = replace(scene, things=tuple(shown))
    elif what == "place":
        name = f"look{_THINGS + rng.randrange(_PLACES)}"
        places[name], words[name] = _place(name)
        scene = replace(scene, background=name)
    else:
        name = f"look{_THINGS + _PLACES + rng.randrange(_STYLES)}"
        styles[name], words[name] = nameless_style(random.Random(name)), f"{name} {ART}"
        scene = replace(scene, style=name)
    return scene, World(things, places, styles), words


def _place(name: str) -> tuple[Place, str]:
    """The same at any time: its own seed draws it."""
    of_landscape = random.Random(name).random() < 2 / 3
    paint, class_words = (nameless_landscape, LANDSCAPE) if of_landscape else (nameless_room, ROOM)
    noun = class_words.split()[-1]
    words = class_words.replace(f"a {noun}", f"a {name} {noun}")
    return Place(words, lambda pen, size, _: paint(pen, size, random.Random(f"{name} drawn"))), words
