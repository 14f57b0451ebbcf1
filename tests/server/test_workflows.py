"""The shipped workflows: sound files, and each one run on the server (smaller, on random weights)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from comfy_cli.workflow_to_api import convert_ui_to_api

from demo.editor.graph import change, find
from demo.editor.shipped import shipped_prompt
from demo.editor.workflows import WORKFLOWS
from demo.training.random_checkpoint import NAME
from tests.support.graphs import pixels, small_workflow

FOLDER = Path(__file__).parents[2] / "example_workflows"


def read(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def test_every_shipped_workflow_is_tested():
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == sorted(WORKFLOWS)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_file_is_sound(server, name):
    workflow, info = read(name), server.object_info()
    assert "id" not in workflow  # the editor gives each copy its own
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for link_id, origin, origin_slot, target, target_slot, kind in workflow["links"]:
        assert link_id in nodes[origin]["outputs"][origin_slot]["links"]
        assert nodes[target]["inputs"][target_slot]["link"] == link_id
        accepted = nodes[target]["inputs"][target_slot]["type"]
        assert accepted in (kind, "*")
    for node in workflow["nodes"]:
        if node["type"] != "MarkdownNote":
            saved = [output["type"] for output in node["outputs"]]
            assert saved == info[node["type"]]["output"][: len(saved)]  # newer ComfyUI appends outputs to its own nodes
    assert any(node["type"] == "MarkdownNote" for node in workflow["nodes"])


@pytest.mark.parametrize("name", WORKFLOWS)
def test_file_is_the_graph_that_is_run_elsewhere(server, name):
    """Read by comfy-cli's converter, as programs do that run workflow files."""
    info = server.object_info()
    from_file, described = convert_ui_to_api(read(name), info), shipped_prompt(name, info)
    assert from_file.keys() == described.keys()
    for node, content in from_file.items():
        assert content["class_type"] == described[node]["class_type"]
        assert content["inputs"].items() <= described[node]["inputs"].items()  # newer ComfyUI gives its own nodes more inputs
        missing = described[node]["inputs"].keys() - content["inputs"].keys()
        assert not missing or not content["class_type"].startswith("CNS_"), missing


@pytest.mark.parametrize("name", WORKFLOWS)
def test_nodes_do_not_overlap_and_groups_hold_theirs(name):
    workflow = read(name)
    boxes = [(node["type"], *node["pos"], *node["size"]) for node in workflow["nodes"]]
    for index, (kind, x, y, width, height) in enumerate(boxes):
        for other, x2, y2, width2, height2 in boxes[:index]:
            apart = x + width <= x2 or x2 + width2 <= x or y + height + 30 <= y2 or y2 + height2 + 30 <= y
            assert apart, f"{kind} at {x},{y} overlaps {other} at {x2},{y2}"
    for kind, x, y, width, height in boxes:
        if kind == "MarkdownNote":
            continue
        holders = [
            group["title"]
            for group in workflow["groups"]
            if group["bounding"][0] <= x
            and group["bounding"][1] <= y
            and x + width <= group["bounding"][0] + group["bounding"][2]
            and y + height <= group["bounding"][1] + group["bounding"][3]
        ]
        assert len(holders) == 1, f"{kind} at {x},{y} is in {holders}"


def test_first_steps(server, pictures):
    prompt = small_workflow("first_steps", server, pictures)
    change(prompt, "CNS_TrainStep", neuron_lr=0.01)
    (shown,), drawn = find(prompt, "SaveImage"), []
    for strength in (1.0, 0.0):
        change(prompt, "CNS_ApplyState", strength=strength)
        result = server.run(prompt)
        assert result.error is None, result.error
        drawn.append(pixels(server, result, shown).astype(float))
    assert drawn[0].shape == (64, 64, 3)
    assert np.abs(drawn[0] - drawn[1]).mean() > 1  # what was taught is in the picture


def test_continual_training_then_generation(server, pictures, base):
    prompt = small_workflow("continual_training", server, pictures)
    result = server.run(prompt)
    assert result.error is None, result.error
    names = ["- `<new1> dog`", "- `<new2> hat`"]
    for known, save in enumerate(find(prompt, "CNS_SaveState"), start=1):
        lines = result.outputs[save]["text"][0].splitlines()
        state = Path(lines[0])
        assert state.is_file()
        assert [line.split(":")[0] for line in lines[1:-1]] == names[:known]
        assert NAME in lines[-1]  # the checkpoint's file
    assert len(result.outputs[find(prompt, "PreviewImage")[0]]["images"]) == 1

    for name, count in (("multi_concept_generation", 1), ("two_of_a_kind", 2)):
        generation = small_workflow(name, server, pictures)
        change(generation, "CNS_LoadState", state_name=state.name)
        shown = server.run(generation)
        assert shown.error is None, shown.error
        drawn = [pixels(server, shown, node) for node in find(generation, "SaveImage")]
        assert [picture.shape for picture in drawn] == [(64, 64, 3)] * count
    assert np.abs(drawn[0].astype(float) - drawn[1]).mean() > 1  # with regions and without


def test_two_of_a_kind_no_gpu(server):
    """Taught hardly at all: the wiring, from teaching to the pictures with regions and without."""
    prompt = shipped_prompt("two_of_a_kind_no_gpu", server.object_info())
    change(prompt, "CNS_TrainStep", steps=2)
    change(prompt, "EmptyLatentImage", batch_size=1)
    result = server.run(prompt)
    assert result.error is None, result.error
    saved = result.outputs[find(prompt, "CNS_SaveState")[0]]["text"][0].splitlines()
    assert [line.split(":")[0] for line in saved[1:3]] == ["- `<new1> animal`", "- `<new2> animal`"]
    drawn = [pixels(server, result, node).astype(float) for node in find(prompt, "SaveImage")]
    assert [picture.shape for picture in drawn] == [(128, 128, 3)] * 2
    assert np.abs(drawn[0] - drawn[1]).mean() > 5
