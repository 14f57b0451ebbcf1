"""Teach Folder as a user has it: two folders, one Run; then a third folder, and Run again."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from cns_pack.cns_core.state_file import load_state
from PIL import Image

from demo.world.new_concepts import NEW_CONCEPTS, teaching_pictures
from tests.support.graphs import Graph, pixels

LESSONS = {"toy - robot": "robot", "bird": "owl", "house": "candyland"}


@pytest.fixture
def folder(base):
    root = base / "input" / "cns_pets"
    shutil.rmtree(root, ignore_errors=True)
    for path in (base / "output" / "cns").rglob("*cns_pets*"):
        path.unlink()
    yield root
    shutil.rmtree(root)


def add(root, name: str) -> None:
    pictures, captions = teaching_pictures(LESSONS[name], 4, 0)
    (root / name).mkdir(parents=True)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        Image.fromarray(picture).save(root / name / f"{number}.png")
        (root / name / f"{number}.txt").write_text(caption, encoding="utf-8")


def course(server, steps: int = 3) -> tuple[Graph, str, list[str]]:
    """What teaches, and its nodes: Teach Folder, pictures with what was taught and without."""
    graph = Graph(server)
    model, clip, vae = graph.demo_model()
    settings = {"steps": steps, "resolution": 64, "neuron_lr": 0.01, "strategy": "all K/V", "prior_images": 2}
    node = graph.add("CNS_TeachFolder", model=model, clip=clip, vae=vae, folder="cns_pets", **settings)
    drawn = [graph.show(graph.sample(each, node("clip"), vae, "a <new1> bird")) for each in (node("model"), model)]
    return graph, node, drawn


def saved(text: str) -> str:
    return re.search(r"- saved as `(.+)`", text)[1]


def test_two_folders_then_a_third_alone(server, folder):
    add(folder, "toy - robot")
    add(folder, "bird")
    graph, node, drawn = course(server)
    first = server.run(graph.prompt)
    assert first.error is None, first.error
    (text,) = first.outputs[node]["text"]
    assert "0 of 2 concepts in `cns_pets` were already known" in text
    assert "2 prior images of 'bird'" in text
    state = load_state(Path(saved(text)))
    assert [concept.name for concept in state.concepts] == ["<new1> bird", "<new2> toy"]
    taught, plain = (pixels(server, first, shown).astype(float) for shown in drawn)
    assert taught.shape == (64, 64, 3)
    assert np.abs(taught - plain).mean() > 1

    add(folder, "house")
    trained: list[int] = []

    def watch(message: dict) -> None:
        data = message["data"]
        if message["type"] == "cns.live" and data["kind"] == "training" and data["rows"]:
            trained.append(data["first"] + len(data["rows"]))

    second = server.run(graph.prompt, on_message=watch)
    assert second.error is None, second.error
    (text,) = second.outputs[node]["text"]
    assert "2 of 3 concepts in `cns_pets` were already known" in text
    assert max(trained) == 3  # steps
    more = load_state(Path(saved(text)))
    assert [concept.name for concept in more.concepts] == ["<new1> bird", "<new2> toy", "<new3> house"]
    assert all(np.array_equal(a.vectors, b.vectors) for a, b in zip(state.concepts, more.concepts, strict=False))

    third = server.run(graph.prompt)
    assert third.error is None, third.error
    assert node not in third.outputs or "3 of 3" in third.outputs[node]["text"][0] or third.outputs[node]["text"] == [text]


def test_a_folder_without_folders(server, folder):
    folder.mkdir(parents=True)
    graph, *_ = course(server)
    result = server.run(graph.prompt)
    assert "holds no folders with pictures: put each concept's pictures into a folder named" in str(result.error)


def test_the_demo_concepts_are_what_their_folders_say():
    assert [NEW_CONCEPTS[name].noun for name in LESSONS.values()][:2] == ["toy", "bird"]
