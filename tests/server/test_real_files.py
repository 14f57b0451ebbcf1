"""Folders and names of files as users have them, through a real server."""

from __future__ import annotations

import shutil
from datetime import datetime

import pytest
from PIL import Image

from tests.support.graphs import Graph


@pytest.fixture
def folder(base):
    folder = base / "input" / "cns_real"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_the_node_shows_what_it_loaded_and_left_out(server, folder):
    for name in ("10.png", "2.gif", "1.jfif"):
        Image.new("RGB", (200, 100), "red").save(folder / name)
    Image.new("L", (100, 50), 255).save(folder / "10-masklabel.png")
    (folder / "1.caption").write_text("a red wall\na wall", encoding="utf-8")
    (folder / "Thumbs.db").touch()
    graph = Graph(server)
    stored = graph.add("CNS_LoadConceptImages", folder="cns_real", resolution=64)
    shown = graph.text([stored, 1])
    result = server.run(graph.prompt)
    assert result.error is None, result.error
    assert result.outputs[shown]["text"] == ["a red wall", "", ""]
    (report,) = result.outputs[stored]["text"]
    assert report == (
        "3 pictures, 1 with a caption, 1 with a mask: 1.jfif, 2.gif, 10.png.\n"
        "1.jfif, 2.gif, 10.png: scaled down to 64 px on the shorter side.\n"
        "1.caption: only the first of 2 captions (one per line) is used."
    )
    assert (stored, report) in [(data["node"], data["text"]) for data in result.of("progress_text")]  # what the node shows


def test_one_caption_in_a_folder_of_prior_images_and_a_name_with_placeholders(server, base, folder, pictures):
    for name in ("1.png", "2.png", "3.png"):
        shutil.copy(base / "input" / pictures["dog"][0], folder / name)
    (folder / "2.txt").write_text("a dog that was photographed", encoding="utf-8")
    graph = Graph(server)
    loaded = graph.demo_model()
    concept = graph.concept(graph.images(pictures["dog"]))
    neurons = graph.select(loaded[0], loaded[1], concept, graph.general(loaded[0], loaded[1]))
    stored = graph.add("CNS_LoadConceptImages", folder="cns_real")
    del graph.prompt[stored]["inputs"]["resolution"]  # as workflows have it that know none
    priors = {"prior_images": [stored, 0], "prior_prompts": [stored, 1]}
    state = graph.train(loaded, concept, [neurons, 0], steps=1, **priors)
    graph.prompt[state]["_meta"] = {"title": "My training"}
    name = "cns/%date:yyyy%/%My training.steps% step %CNS_TrainStep.template%"
    saved = graph.add("CNS_SaveState", state=[state, 0], filename_prefix=name)
    shown = graph.text([saved, 1])
    years = {datetime.now().year}
    result = server.run(graph.prompt)
    years.add(datetime.now().year)
    assert result.error is None, result.error
    file = "1 step photo of a {concept}_00001_.safetensors"
    assert result.outputs[shown]["text"][0] in {str(base / "output" / "cns" / f"{year}" / file) for year in years}
