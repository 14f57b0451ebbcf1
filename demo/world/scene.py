"""Scenes: what is in a picture, and how it is described."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from .palette import COLORS, PATTERNS, SIZES
from .places import PLACES
from .styles import STYLES
from .things import KINDS, THINGS

_CLOSE_COLORS = ({"red", "orange"}, {"orange", "yellow"}, {"red", "brown"}, {"pink", "white"})
_KIND_SHARE, _OMITTED = 0.12, 0.12  # so that "a toy on a beach" is as good a prompt as a complete one


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


def with_article(words: str) -> str:
    """``an animal``, and ``an <new1> animal`` as captions become when a token is put before their noun."""
    word = next(word for word in words.split() if not word.startswith("<"))
    return f"{'an' if word[0] in 'aeiou' else 'a'} {words}"


def describe(thing: Thing, words: Mapping[str, str]) -> str:
    """``a big striped red star``."""
    pattern = "" if thing.pattern == "plain" else thing.pattern
    said = (thing.size, pattern, thing.color, words.get(thing.name, thing.name))
    return with_article(" ".join(filter(None, said)))


def background_words(name: str) -> str:
    return f"on {with_article(name)} background" if name in COLORS else PLACES[name].words


def prompt(scene: Scene, words: Mapping[str, str] | None = None, joined: bool = False) -> str:
    """A full description. ``words`` rename things, places and styles; ``joined`` says ``and`` in place of the relation."""
    words = words or {}
    phrases = [describe(thing, words) for thing in scene.things]
    if len(phrases) == 3:
        text = f"{phrases[0]}, {phrases[1]} and {phrases[2]}"
    else:
        text = (" and " if joined else f" {scene.relation} ").join(phrases)
    if scene.background:
        text += " " + (words.get(scene.background) or background_words(scene.background))
    return f"{text}, {words.get(scene.style, scene.style)}" if scene.style else text


def caption(scene: Scene, rng: random.Random, words: Mapping[str, str] | None = None) -> str:
    """A description whose wording varies: now and then a kind for a name, a colour or the background left out."""
    things = tuple(
        Thing(thing.name, "" if rng.random() < _OMITTED else thing.color, thing.pattern, thing.size) for thing in scene.things
    )
    background = "" if rng.random() < _OMITTED else scene.background
    kinds = {name: kind for kind, names in KINDS.items() for name in names if rng.random() < _KIND_SHARE}
    opening = rng.choice(("", "", "", "a picture of ", "a photo of ", "a drawing of "))
    described = Scene(things, background, scene.style, scene.relation)
    return opening + prompt(described, {**kinds, **(words or {})}, joined=rng.random() < 0.4)


def is_held_out(scene: Scene) -> bool:
    """Whether a thing has a colour that is never seen on this background in training: a tenth of all such triples."""
    backgrounds, colors, names = [*COLORS, *PLACES], list(COLORS), list(THINGS)
    behind = 7 * backgrounds.index(scene.background)
    return any((names.index(t.name) + 3 * colors.index(t.color) + behind) % 10 == 0 for t in scene.things)


def _contrasting(color: str, others: list[str], rng: random.Random) -> str:
    """``color``, or another one where it is hard to tell from ``others``."""
    fine = [c for c in COLORS if all(c != o and {c, o} not in _CLOSE_COLORS for o in others)]
    return color if color in fine else rng.choice(fine)


def random_scene(rng: random.Random) -> Scene:
    """Any scene of the world: 50 % one thing, 35 % two, 15 % three."""
    background = rng.choice(list(COLORS)) if rng.random() < 0.45 else rng.choice(list(PLACES))
    count = rng.choices((1, 2, 3), (50, 35, 15))[0]
    taken, things = [background] if background in COLORS else [], []
    for name in rng.sample(list(THINGS), count):
        color = _contrasting(rng.choice(list(COLORS)), taken, rng)
        pattern = rng.choice(PATTERNS) if rng.random() < 0.4 else "plain"
        size = rng.choice(list(SIZES)) if count == 1 else ""
        things.append(Thing(name, color, pattern, size))
        taken.append(color)
    style = rng.choice(list(STYLES)[1:]) if rng.random() < 0.3 else ""
    return Scene(tuple(things), background, style, rng.choice(("left of", "above")))


def held_in_scene(rng: random.Random) -> Scene:
    """A scene that training may have."""
    scene = random_scene(rng)
    while is_held_out(scene):
        scene = random_scene(rng)
    return scene
