"""Concepts to teach the demo model: things, places and styles it never saw, with pictures and captions of each."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np

from .drawing import World, draw
from .new_surroundings import NEW_PLACES, NEW_STYLES
from .palette import COLORS
from .places import PLACES
from .scene import Scene, Thing, prompt, random_scene
from .styles import STYLES, plain
from .things import NEW_THINGS, THINGS

EXTENDED_WORLD = World({**THINGS, **NEW_THINGS}, {**PLACES, **NEW_PLACES}, {**STYLES, **NEW_STYLES})
_SHAPES = replace(EXTENDED_WORLD, styles={"": lambda picture, shapes, rng: plain(shapes, picture, rng)})


@dataclass(frozen=True)
class NewConcept:
    """``noun`` is a class the demo model knows; ``pattern`` is how the noun is said where the concept stands in a prompt."""

    name: str
    noun: str
    pattern: str = "{}"

    def words(self, token: str = "") -> str:
        """How prompts say it: ``<new1> toy``; without a token, only the class."""
        return self.pattern.format(f"{token} {self.noun}".strip())

    def scene(self, rng: random.Random) -> Scene:
        """One thing with the concept in, on or around it."""
        thing = Thing(rng.choice(list(THINGS)), rng.choice(list(COLORS)))
        background = rng.choice([*PLACES, *(color for color in COLORS if color != thing.color)])
        if self.name in NEW_THINGS:
            return Scene((Thing(self.name, ""),), background)
        if self.name in NEW_PLACES:
            return Scene((thing,), self.name)
        return Scene((thing,), background, self.name)


NEW_CONCEPTS = {
    concept.name: concept
    for concept in (
        NewConcept("robot", "toy"),
        NewConcept("teapot", "cup"),
        NewConcept("castle", "house"),
        NewConcept("cactus", "plant"),
        NewConcept("guitar", "toy"),
        NewConcept("crown", "hat"),
        NewConcept("snowman", "toy"),
        NewConcept("balloon", "ball"),
        NewConcept("owl", "bird"),
        NewConcept("turtle", "animal"),
        NewConcept("bee", "animal"),
        NewConcept("fox", "dog"),
        NewConcept("panda", "animal"),
        NewConcept("candyland", "landscape", "in a {}"),
        NewConcept("volcano", "landscape", "in a {}"),
        NewConcept("library", "room", "in a {}"),
        NewConcept("planet", "landscape", "in a {}"),
        NewConcept("blueprint", "art"),
        NewConcept("mosaic", "art"),
        NewConcept("sepia", "art"),
    )
}


def prior_prompts(concept: NewConcept, rng: random.Random, count: int, around: int) -> list[str]:
    """For prior images: ``count`` prompts of the concept's class in all kinds of scenes, then ``around`` of other scenes."""
    of_class = [prompt(concept.scene(rng), {concept.name: concept.words()}) for _ in range(count)]
    return [*of_class, *(prompt(random_scene(rng)) for _ in range(around))]


def teaching_pictures(name: str, count: int, seed: int, background: str = "") -> tuple[list[np.ndarray], list[str]]:
    """``count`` pictures of a concept, uint8 (height, width, 3), and their captions with the class noun, no token.

    ``background``: the same one for all; they differ in what else they show otherwise.
    """
    scenes, rng = _teaching_scenes(name, count, seed, background)
    pictures = [np.array(draw(scene, rng, EXTENDED_WORLD)) for scene in scenes]
    return pictures, [prompt(scene, {name: NEW_CONCEPTS[name].words()}) for scene in scenes]


def teaching_masks(name: str, count: int, seed: int) -> list[np.ndarray] | None:
    """For each of those pictures 1 where the concept is, float32 (height, width); None for a style, which is everywhere."""
    if name in NEW_STYLES:
        return None
    scenes, rng = _teaching_scenes(name, count, seed)
    shapes = [np.array(draw(scene, rng, _SHAPES), dtype=np.float32) / 255 for scene in scenes]
    return [1 - shape for shape in shapes] if name in NEW_PLACES else shapes


def _teaching_scenes(name: str, count: int, seed: int, background: str = "") -> tuple[list[Scene], random.Random]:
    """Scenes and what they are drawn with."""
    concept, rng = NEW_CONCEPTS[name], random.Random(f"{name} {seed}")
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = concept.scene(rng)
        if background:
            scenes.append(replace(scene, background=background))
        elif all(scene.background != other.background or scene.things != other.things for other in scenes):
            scenes.append(scene)
    return scenes, rng
