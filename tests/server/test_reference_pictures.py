"""What the demo model draws with a state that was taught once and kept: pictures as they were stored, but for rounding.

A training differs in its last bits from one kind of CPU to the next, so the state is stored and not taught again. Where the
demo model or the state's meaning changes on purpose: ``python dev.py test --write-reference
tests/server/test_reference_pictures.py`` teaches and draws again; look at the pictures before they are committed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo.editor.canvas.parts import DEMO_TRAINING
from tests.support.graphs import Graph, pixels

FOLDER = Path(__file__).parents[1] / "data" / "reference"
STATE = FOLDER / "volcano.safetensors"
PROMPTS = {
    "ordinary": ("a red star on a beach", 0.0),
    "half": ("a blue house in a <new1> landscape", 0.5),
    "taught": ("a blue house in a <new1> landscape", 1.0),
    "taught_ordinary": ("a red star on a beach", 1.0),
}
TOLERANCE = 2.0  # mean difference of a colour value, of 255


def drawn(server, base) -> dict[str, np.ndarray]:
    target = base / "models" / "cns" / STATE.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(STATE, target)
    graph = Graph(server)
    model, clip, vae = graph.demo_model()
    state = [graph.add("CNS_LoadState", state_name=STATE.name), 0]
    shown = {}
    for name, (text, strength) in PROMPTS.items():
        applied = graph.add("CNS_ApplyState", model=model, clip=clip, state=state, strength=strength)
        sampling = {"pixels": 128, "steps": 12, "cfg": 3.0, "sampler_name": "dpmpp_2m", "scheduler": "karras"}
        shown[name] = graph.show(graph.sample([applied, 0], [applied, 1], vae, text, **sampling))
    result = server.run(graph.prompt)
    assert result.error is None, result.error
    return {name: pixels(server, result, node) for name, node in shown.items()}


def teach(server, base) -> None:
    """Writes the state, taught with few weights so that its file is small."""
    graph = Graph(server)
    loaded = graph.demo_model()
    images = graph.add("CNS_DemoConcept", concept="volcano", count=5, seed=0)
    concept = graph.concept([images, 0], noun=[images, 2], captions=[images, 1])
    select = graph.select(loaded[0], loaded[1], concept, graph.general(loaded[0], loaded[1]))
    taught = graph.train(loaded, concept, [select, 0], **{**DEMO_TRAINING, "steps": 120, "preview_every": 0})
    saved = graph.add("CNS_SaveState", state=[taught, 0], filename_prefix="cns/reference")
    result = server.run(graph.prompt)
    assert result.error is None, result.error
    FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(result.outputs[saved]["text"][0].splitlines()[0]), STATE)


@pytest.fixture(scope="module")
def shown(server, base, request) -> dict[str, np.ndarray]:
    if request.config.getoption("--write-reference"):
        teach(server, base)
        for name, picture in drawn(server, base).items():
            Image.fromarray(picture).save(FOLDER / f"{name}.png")
    return drawn(server, base)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("name", PROMPTS)
def test_picture_is_what_it_was(shown, name):
    stored = np.asarray(Image.open(FOLDER / f"{name}.png").convert("RGB"))
    assert distance(shown[name], stored) < TOLERANCE


def test_the_pictures_differ_from_each_other(shown):
    assert distance(shown["taught"], shown["half"]) > 5 * TOLERANCE
    assert distance(shown["half"], shown["ordinary"]) > 5 * TOLERANCE
