"""The paper's protocol (section 5.1) on the drawn world.

Three sets of seven concepts; for each 35 single, 4 double and 3 triple prompts.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from demo.editor.canvas.parts import DEMO_PRIORS
from demo.judges.recognizer import asked_for
from demo.world.new_concepts import NEW_CONCEPTS, prior_prompts, teaching_pictures
from demo.world.new_surroundings import NEW_PLACES, NEW_STYLES
from demo.world.palette import COLORS
from demo.world.places import PLACES
from demo.world.scene import Scene, Thing, held_in_scene, is_held_out, prompt, random_scene, with_article
from demo.world.things import NEW_THINGS, THINGS

# Things, places and styles in turn, so that each kind is early and late somewhere. 20 concepts; the teapot is in two sets.
SETS = (
    ("robot", "candyland", "owl", "blueprint", "teapot", "cactus", "fox"),
    ("volcano", "guitar", "turtle", "crown", "mosaic", "castle", "library"),
    ("snowman", "sepia", "bee", "planet", "panda", "balloon", "teapot"),
)
TWENTY = tuple(dict.fromkeys(name for concepts in zip(*SETS, strict=True) for name in concepts))
SINGLE_PROMPTS = 5  # for each concept
IMAGE_COUNTS = {1: 7, 2: 10, 3: 12}  # pictures of a prompt with so many concepts
LATER_IMAGES = 2  # in place of 7 where the concept is not the first of its sequence, of which there are many
ORDINARY = 80  # pictures of ordinary prompts
UNSEEN = 16  # pictures for the error of the noise prediction; not in the digest: raise _VERSION with it
PRIOR_IMAGES = DEMO_PRIORS["count"]
_FILLER = "with soft light from the left and a clear view of everything that can be seen in it from near and from far away"
_VERSION = 2  # raise it where what is taught or measured changes and the digest's prompts and numbers do not tell


@dataclass(frozen=True)
class Test:
    """A scene with concepts in it. ``prompt`` has their tokens, ``plain`` only the class nouns."""

    scene: Scene
    concepts: tuple[str, ...]
    prompt: str
    plain: str

    @property
    def asks_for_more(self) -> bool:
        """Whether it asks for anything but concepts."""
        return any(what not in NEW_CONCEPTS for what in asked_for(self.scene))

    @staticmethod
    def of(scene: Scene, tokens: dict[str, str]) -> Test:
        shown = [thing.name for thing in scene.things] + [scene.background, scene.style]
        concepts = tuple(name for name in shown if name in NEW_CONCEPTS)
        words = {name: NEW_CONCEPTS[name].words(tokens[name]) for name in concepts}
        classes = {name: NEW_CONCEPTS[name].words() for name in concepts}
        return Test(scene, concepts, prompt(scene, words), prompt(scene, classes))


def tokens_of(names: tuple[str, ...]) -> dict[str, str]:
    return {name: f"<new{number}>" for number, name in enumerate(names, start=1)}


def orders_of_twenty(count: int) -> tuple[tuple[str, ...], ...]:
    """So many orders of the twenty concepts."""
    return tuple(tuple(random.Random(number).sample(TWENTY, len(TWENTY))) for number in range(count))


@lru_cache
def material(name: str, seed: int, background: str = "") -> tuple[tuple[np.ndarray, ...], tuple[str, ...]]:
    """The 4 to 6 pictures a concept is taught with, uint8 (height, width, 3), and their captions without token."""
    count = 4 + (list(NEW_CONCEPTS).index(name) + seed) % 3
    pictures, captions = teaching_pictures(name, count, seed, background)
    return tuple(pictures), tuple(captions)


def reworded(caption: str, noun: str, how: str) -> str:
    """``whole``: as it is. ``short``: only what is taught. ``4 words``, or as many as it says: cut off, or filled up with words
    that say nothing of the picture.
    """
    if how == "whole":
        return caption
    if how == "short":
        return with_article(noun)
    return " ".join([*caption.split(), *_FILLER.split(), *_FILLER.split()][: int(how.split()[0])])


def unseen(name: str, words: str, seed: int) -> tuple[np.ndarray, list[str]]:
    """Further pictures of a concept, uint8 (n, height, width, 3), and their captions, which say ``words`` for it."""
    pictures, captions = teaching_pictures(name, UNSEEN, 10_000 + seed)
    return np.stack(pictures), [caption.replace(NEW_CONCEPTS[name].words(), words, 1) for caption in captions]


def noise_seed(seed: int, number: int, copy: int = 0) -> int:
    """Of a test's picture: its own for every seed, test and copy, and none of the prior images' (0, 1, …)."""
    return 1_000_000 * (seed + 1) + 1_000 * number + copy


def single_tests(name: str, tokens: dict[str, str], seed: int) -> list[Test]:
    """Five scenes with one concept, none as in its teaching captions; in two a new thing stands beside an ordinary one."""
    rng, tests = random.Random(f"single {name} {seed}"), []
    while len(tests) < SINGLE_PROMPTS:
        number, scene = len(tests), NEW_CONCEPTS[name].scene(rng)
        if name in NEW_THINGS and number >= SINGLE_PROMPTS - 2:
            colors = [color for color in COLORS if color != scene.background]
            beside = Thing(rng.choice(list(THINGS)), rng.choice(colors))
            scene = replace(scene, things=(*scene.things, beside), relation="left of")
        test = Test.of(scene, tokens)
        if test.plain not in material(name, seed)[1]:
            tests.append(test)
    return tests


def multi_tests(names: tuple[str, ...], tokens: dict[str, str], seed: int) -> list[Test]:
    """Double and triple prompts over a set's concepts: things beside things, in places, in styles, as far as it has them."""
    rng = random.Random(f"multi {names} {seed}")
    things, places, styles = ([name for name in names if name in kind] for kind in (NEW_THINGS, NEW_PLACES, NEW_STYLES))

    def scene(count: int, place: bool, style: bool) -> Scene:
        shown = tuple(Thing(name, "") for name in rng.sample(things, count))
        background = rng.choice(places) if place else rng.choice([*PLACES, *COLORS])
        return Scene(shown, background, rng.choice(styles) if style else "", "left of")

    doubles = [(2, False, False), (2, False, False), (1, True, False), (1, False, True)]
    triples = [(2, True, False), (2, False, True), (1, True, True)]
    had = [(n, p, s) for n, p, s in doubles + triples if n <= len(things) and bool(places) >= p and bool(styles) >= s]
    return [Test.of(scene(*kind), tokens) for kind in had]


def ordinary_tests(count: int, seed: int = 0, things: int | None = None) -> list[Test]:
    """Scenes of the world the demo model knows, with combinations its training never had."""
    rng, tests = random.Random(f"ordinary {seed} {things}"), []
    while len(tests) < count:
        scene = random_scene(rng)
        if is_held_out(scene) and things in (None, len(scene.things)):
            tests.append(Test.of(scene, {}))
    return tests


def calibration_prompts(count: int = 100, draw: int = 0) -> list[str]:
    """Ordinary prompts to find the general neurons with; none is among the tests."""
    rng = random.Random(f"calibration {draw}")
    return [prompt(held_in_scene(rng)) for _ in range(count)]


def priors_of(name: str, count: int = PRIOR_IMAGES, around: int = 0) -> list[str]:
    """See :func:`prior_prompts`; the same for every seed."""
    return prior_prompts(NEW_CONCEPTS[name], random.Random(f"prior {name}"), count, around)


def digest() -> str:
    """Changes with the prompts, with how many pictures each gets, and with ``_VERSION``, which stands for all else."""
    tokens = tokens_of(TWENTY)
    prompts = [
        *calibration_prompts(),
        *(text for name in TWENTY for text in priors_of(name)),
        *(test.prompt for name in TWENTY for test in single_tests(name, tokens, 0)),
        *(test.prompt for names in SETS for test in multi_tests(names, tokens, 0)),
        *(test.prompt for test in ordinary_tests(ORDINARY)),
    ]
    return hashlib.sha256(json.dumps([_VERSION, IMAGE_COUNTS, LATER_IMAGES, prompts]).encode()).hexdigest()
