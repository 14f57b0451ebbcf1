"""Says which things in which colours, which concepts, background and style a picture shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from demo.world.new_concepts import NEW_CONCEPTS
from demo.world.new_surroundings import NEW_PLACES, NEW_STYLES
from demo.world.palette import COLORS
from demo.world.places import PLACES
from demo.world.scene import Scene
from demo.world.styles import STYLES
from demo.world.things import NEW_THINGS, THINGS

from .trunk import FEATURES, Trunk, as_input

FILE = Path(__file__).with_name("recognizer.safetensors")
PRESENT = [*THINGS, *NEW_THINGS, *((thing, color) for thing in THINGS for color in COLORS)]
BACKGROUNDS = [*COLORS, *PLACES, *NEW_PLACES]
ALL_STYLES = [*STYLES, *NEW_STYLES]
COLORLESS = frozenset(("blueprint", "sepia"))  # drawn in one colour: neither a thing's nor a background's can be told


@dataclass(frozen=True, eq=False)
class Recognition:
    """Probabilities, float32: ``present`` (b, len(PRESENT)), ``background`` (b, …) and ``style`` (b, …)."""

    present: Tensor
    background: Tensor
    style: Tensor

    def of(self, what: str | tuple[str, str]) -> Tensor:
        """Probability (b,) that a thing, a (thing, colour), a background or a style is there."""
        for names, values in ((PRESENT, self.present), (BACKGROUNDS, self.background), (ALL_STYLES, self.style)):
            if what in names:
                return values[:, names.index(what)]
        raise KeyError(what)

    def __getitem__(self, rows: slice) -> Recognition:
        return Recognition(self.present[rows], self.background[rows], self.style[rows])


class Recognizer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk()
        self.things = nn.Conv2d(FEATURES, len(PRESENT), 1)
        nn.init.constant_(self.things.bias, -5.0)  # hardly anything of all there could be is in a picture
        self.scene = nn.Linear(FEATURES, len(BACKGROUNDS) + len(ALL_STYLES))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of presence, background and style; x (b, 3, 128, 128) in -1..1. A thing is where its best position is."""
        features = self.trunk(x)
        background, style = self.scene(features.mean((2, 3))).split((len(BACKGROUNDS), len(ALL_STYLES)), dim=1)
        return self.things(features).amax((2, 3)), background, style

    @torch.inference_mode()
    def recognize(self, pixels: np.ndarray) -> Recognition:
        """uint8 (b, 128, 128, 3)."""
        present, background, style = self(as_input(pixels))
        return Recognition(present.sigmoid(), background.softmax(1), style.softmax(1))


def asked_for(scene: Scene) -> list[str | tuple[str, str]]:
    """What a picture of the scene has to show, concepts included."""
    seen: list[str | tuple[str, str]] = [scene.style] if scene.style else []
    if scene.style not in COLORLESS and scene.background:
        seen.append(scene.background)
    for thing in scene.things:
        colored = thing.name in THINGS and thing.color and scene.style not in COLORLESS
        seen.append((thing.name, thing.color) if colored else thing.name)
    return seen


def shows(recognition: Recognition, scene: Scene) -> tuple[Tensor, Tensor]:
    """For each picture, whether every concept of the scene is there, and whether everything else asked for is: bool (b,)."""
    there = {what: recognition.of(what) > 0.5 for what in asked_for(scene)}
    everything = torch.ones(len(recognition.present), dtype=torch.bool)
    concepts = [seen for what, seen in there.items() if what in NEW_CONCEPTS]
    rest = [seen for what, seen in there.items() if what not in NEW_CONCEPTS]
    return torch.stack([everything, *concepts]).all(0), torch.stack([everything, *rest]).all(0)


def unasked(recognition: Recognition, scene: Scene, concepts: Iterable[str]) -> Tensor:
    """For each picture, whether one of the concepts is there that the scene does not have: bool (b,)."""
    asked = {what for what in asked_for(scene) if isinstance(what, str)} | {scene.background, scene.style}
    nothing = torch.zeros(len(recognition.present), dtype=torch.bool)
    return torch.stack([nothing, *(recognition.of(name) > 0.5 for name in concepts if name not in asked)]).any(0)


def load() -> Recognizer:
    model = Recognizer()
    model.load_state_dict({name: value.float() for name, value in load_file(FILE).items()})
    return model.eval().requires_grad_(False)
