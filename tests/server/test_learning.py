"""The shipped tour, run as it is: does the demo model learn, keep what it learned, and stay what it was otherwise?"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from benchmarks.science.lab import Lab
from cns_core.state import CNSState
from cns_core.state_file import load_state
from demo.editor.graph import find
from demo.editor.shipped import shipped_prompt
from demo.judges.recognizer import shows
from demo.tour import WANTED, fetched, seeded, seen
from demo.world.scene import Scene, is_held_out, prompt, random_scene

SEED, PICTURES = 1, 20  # not the shipped seed; pictures of each prompt with concepts
ORDINARY = 120  # prompts with combinations training never had, one picture of each
pytestmark = pytest.mark.slow


def ordinary_scenes() -> list[Scene]:
    rng, scenes = random.Random("ordinary"), []
    while len(scenes) < ORDINARY:
        scene = random_scene(rng)
        if is_held_out(scene) and len(scene.things) < 3:
            scenes.append(scene)
    return scenes


@pytest.fixture(scope="module")
def taught(server) -> tuple[dict[str, np.ndarray], CNSState]:
    """The tour's pictures, more of them than it has, and the state it saves."""
    tour = seeded(shipped_prompt("no_gpu_tour", server.object_info()), SEED, PICTURES)
    result = server.run(tour, timeout=1200)
    assert result.error is None, result.error
    pictures = {tour[node]["_meta"]["title"]: fetched(server, result, node) for node in find(tour, "SaveImage")}
    (saved,) = find(tour, "CNS_SaveState")
    return pictures, load_state(Path(result.outputs[saved]["text"][0].splitlines()[0]))


def test_concepts_are_learned_and_kept(taught):
    concepts, _ = taught
    assert all(len(pictures) == PICTURES for pictures in concepts.values())
    scores = {title: seen(concepts[title], wanted).mean() for title, wanted in zip(concepts, WANTED, strict=True)}
    assert scores["<new1> after the first step"] > 0.8, scores
    assert scores["<new2>"] > 0.8, scores
    assert scores["<new1> after the first step"] - scores["<new1> after the second"] < 0.1, scores  # the same noise


def test_ordinary_prompts_are_as_good_as_before(taught, tmp_path):
    _, state = taught
    lab, scenes = Lab.open(tmp_path), ordinary_scenes()

    def right(applied: CNSState | None) -> float:
        pictures = lab.pictures([prompt(scene) for scene in scenes], list(range(ORDINARY)), applied)
        recognition = lab.recognizer.recognize(pictures)
        return float(np.mean([shows(recognition[i : i + 1], scene)[1].item() for i, scene in enumerate(scenes)]))

    before, after = right(None), right(state)
    assert before > 0.8
    assert before - after < 0.05, (before, after)  # the same noise
