"""The shipped workflows: sound files, and each one run on the server (smaller, on random weights)."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from comfy_cli.workflow_to_api import convert_ui_to_api

from demo.editor.canvas.workflow_file import BLUEPRINT_FOLDER, document
from demo.editor.graph import change, find
from demo.editor.shipped import shipped_prompt
from demo.editor.workflows import WORKFLOWS
from demo.editor.workflows.blueprints import BLUEPRINTS, blueprint_of
from demo.training.random_checkpoint import NAME
from tests.support.graphs import check_same_graph, folder_of, pixels, small_workflow

FOLDER = Path(__file__).parents[2] / "example_workflows"


def read(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def test_every_shipped_workflow_is_tested():
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == sorted(WORKFLOWS)


def subgraphs(workflow: dict) -> dict[str, dict]:
    return {one["id"]: one for one in workflow.get("definitions", {}).get("subgraphs", [])}


def every_node(workflow: dict) -> list[dict]:
    """Those in subgraphs too, without the subgraphs' own."""
    inside = subgraphs(workflow)
    nodes = [*workflow["nodes"], *(node for one in inside.values() for node in one["nodes"])]
    return [node for node in nodes if node["type"] not in inside]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_file_is_sound(server, name):
    workflow, info = read(name), server.object_info()
    assert "id" not in workflow  # the editor gives each copy its own
    check_links(workflow["nodes"], workflow["links"], {})
    for one in subgraphs(workflow).values():
        links = [list(link.values()) for link in one["links"]]
        check_links(one["nodes"], links, {-10: one["inputs"], -20: one["outputs"]})
    for node in every_node(workflow):
        if node["type"] != "MarkdownNote":
            saved = [output["type"] for output in node["outputs"]]
            assert saved == info[node["type"]]["output"][: len(saved)]  # newer ComfyUI appends outputs to its own nodes
            assert node["properties"]["cnr_id"]
            assert node["properties"]["ver"]
    assert any(node["type"] == "MarkdownNote" for node in workflow["nodes"])


def check_links(nodes: list[dict], links: list[list], ends: dict[int, list[dict]]) -> None:
    """``ends``: of a subgraph, its inputs as -10 and its outputs as -20."""
    by_id = {node["id"]: node for node in nodes}
    for link_id, origin, origin_slot, target, target_slot, kind in links:
        left = ends[origin][origin_slot]["linkIds"] if origin in ends else by_id[origin]["outputs"][origin_slot]["links"]
        assert link_id in left
        if target in ends:
            assert link_id in ends[target][target_slot]["linkIds"]
            continue
        entered = by_id[target]["inputs"][target_slot]
        assert entered["link"] == link_id
        assert entered["type"] in (kind, "*")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_template_is_crowded(name):
    assert len(read(name)["nodes"]) <= 20


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_missing_checkpoint_can_be_downloaded(name):
    for node in every_node(read(name)):
        if node["type"] == "CheckpointLoaderSimple":
            (model,) = node["properties"]["models"]
            assert model["name"] == node["widgets_values"][0]
            assert model["directory"] == "checkpoints"
            assert model["url"].startswith("https://huggingface.co/")
            assert model["name"] in model["url"]


def test_first_steps_fits_on_a_screen():
    """1,920 x 1,080 pixels, less the editor's bars."""
    workflow = read("first_steps")
    assert workflow["extra"]["ds"]["scale"] == 1
    assert max(node["pos"][0] + node["size"][0] for node in workflow["nodes"]) <= 1840
    assert max(node["pos"][1] + node["size"][1] for node in workflow["nodes"]) <= 900


def test_no_wires_of_first_steps_cross():
    workflow = read("first_steps")
    nodes = {node["id"]: node for node in workflow["nodes"]}

    def end(node: int, slot: int, side: str) -> tuple[float, float]:
        x, y = nodes[node]["pos"]
        return x + (nodes[node]["size"][0] if side == "outputs" else 0), y + 20 * (slot + 0.7)  # as LiteGraph places them

    wires = [(end(link[1], link[2], "outputs"), end(link[3], link[4], "inputs")) for link in workflow["links"]]
    assert len(wires) == 12
    crossing = [
        (one, other) for one, other in itertools.combinations(wires, 2) if not set(one) & set(other) and cross(one, other)
    ]
    assert not crossing


def cross(one: tuple, other: tuple) -> bool:
    def side(line: tuple, point: tuple) -> float:
        (x, y), (x2, y2) = line
        return (x2 - x) * (point[1] - y) - (y2 - y) * (point[0] - x)

    return all(side(a, b[0]) * side(a, b[1]) < 0 for a, b in ((one, other), (other, one)))


@pytest.mark.parametrize("name", ["first_steps", "multi_concept_generation"])
def test_app_mode_shows_widgets_and_results_that_are_there(server, name):
    workflow, info = read(name), server.object_info()
    nodes = {node["id"]: node["type"] for node in workflow["nodes"]}
    app = workflow["extra"]["linearData"]
    for node, widget in app["inputs"]:
        known = info[nodes[node]]["input"]
        assert widget in {**known["required"], **known.get("optional", {})}
    assert [nodes[node] for node in app["outputs"]] == ["SaveImage"]


@pytest.mark.parametrize("title", BLUEPRINTS)
def test_blueprints_are_what_is_described(server, title):
    path = BLUEPRINT_FOLDER / f"{title}.json"
    blueprint, info = json.loads(path.read_text(encoding="utf-8")), server.object_info()
    assert blueprint == document(blueprint_of(title, info)), "run python dev.py docs workflows"
    (host,), (inside,) = blueprint["nodes"], blueprint["definitions"]["subgraphs"]
    assert host["type"] == inside["id"]
    assert inside["name"] == title
    assert [slot["type"] for slot in host["inputs"]] == [end["type"] for end in inside["inputs"]]
    assert host["outputs"]
    listed = json.loads(server.get("/global_subgraphs"))
    assert title in {entry["name"] for entry in listed.values()}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_file_is_the_graph_that_is_run_elsewhere(server, name):
    """Read by comfy-cli's converter, as programs do that run workflow files."""
    info = server.object_info()
    check_same_graph(convert_ui_to_api(read(name), info), shipped_prompt(name, info))


@pytest.mark.parametrize("name", sorted({*WORKFLOWS} - {"first_steps"}))
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
    change(prompt, "CNS_TeachFolder", neuron_lr=0.01, start_over=True)
    (shown,), (loader,), drawn = find(prompt, "SaveImage"), find(prompt, "CheckpointLoaderSimple"), []
    for plain in (False, True):
        if plain:
            change(prompt, "KSampler", model=[loader, 0])
        result = server.run(prompt)
        assert result.error is None, result.error
        drawn.append(pixels(server, result, shown).astype(float))
    assert drawn[0].shape == (64, 64, 3)
    assert np.abs(drawn[0] - drawn[1]).mean() > 1  # what was taught is in the picture


@pytest.fixture(scope="module")
def taught(server, pictures):
    """The prompt of continual_training and its result."""
    prompt = small_workflow("continual_training", server, pictures)
    result = server.run(prompt)
    assert result.error is None, result.error
    return prompt, result


@pytest.fixture(scope="module")
def state(taught) -> Path:
    prompt, result = taught
    return Path(result.outputs[find(prompt, "CNS_SaveState")[0]]["text"][0].splitlines()[0])


def test_continual_training(server, taught, state):
    prompt, result = taught
    (save,), (shown,) = find(prompt, "CNS_SaveState"), find(prompt, "SaveImage")
    lines = result.outputs[save]["text"][0].splitlines()
    assert state.is_file()
    assert [line.split(":")[0] for line in lines[1:-1]] == ["- `<new1> dog`", "- `<new2> hat`"]
    assert NAME in lines[-1]  # the checkpoint's file
    assert pixels(server, result, shown).shape == (64, 64, 3)


RUN_BY_THEMSELVES = {"first_steps", "continual_training", "two_of_a_kind_no_gpu", "no_gpu_tour"}  # the last: test_learning
PICTURE, PLOTS = (64, 64, 3), {(450, 800, 3), (600, 700, 3)}


@pytest.mark.usefixtures("described")
@pytest.mark.parametrize("name", sorted({*WORKFLOWS} - RUN_BY_THEMSELVES))
def test_it_runs(server, pictures, state, name):
    """With pictures and texts as the result, on the state of continual_training where it takes one."""
    prompt = small_workflow(name, server, pictures)
    change(prompt, "CNS_LoadState", state_name=state.name)
    result = server.run(prompt)
    assert result.error is None, result.error
    drawn = [pixels(server, result, node).astype(float) for node in find(prompt, "SaveImage")]
    assert drawn
    assert {picture.shape for picture in drawn} <= {PICTURE, *PLOTS}
    assert all(result.outputs[node]["text"][0] for node in find(prompt, "PreviewAny"))
    if name == "two_of_a_kind":
        assert np.abs(drawn[0] - drawn[1]).mean() > 1  # with regions and without


@pytest.fixture
def described(base, pictures):
    """Captions beside the pictures, as captions_from_files has them."""
    files = [(base / "input" / folder_of(pictures) / "dog" / f"{index}.txt") for index in range(3)]
    for index, file in enumerate(files):
        file.write_text(f"a dog in picture {index}", encoding="utf-8")
    yield
    for file in files:
        file.unlink()


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
