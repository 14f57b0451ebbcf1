"""Prompts by API with anything on any input: a sentence of ours, ComfyUI's own refusal, or a result; never a changed model."""

from __future__ import annotations

import re

import pytest
import torch
from cns_pack.nodes import NODES
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import load_file

from demo.editor.comfy_server import PromptRefused
from demo.editor.graph import inputs_of
from tests.support.fuzzing import thrown
from tests.support.graphs import Graph

PACK = re.compile(r"cns_core|continual-concepts|comfyui-cns")
ODD = [
    None,
    True,
    False,
    -1,
    0,
    1,
    3,
    2.5,
    -0.0,
    1e308,
    10**6,
    2**63,
    2**64,
    -(2**63),
    float("nan"),
    float("inf"),
    -float("inf"),
]
ODD += [
    "",
    " ",
    "5",
    "nan",
    "dog",
    "<new1>",
    "<a b>",
    "../../x",
    "/etc/passwd",
    "a" * 5000,
    "\0",
    "\ud800",
    "狗\u202e🐕",
    "%date:%%",
]
ODD += [
    "{concept}",
    "((((",
    "a\nb\n\nc",
    [],
    [[]],
    ["1"],
    ["1", 99],
    ["1", "x"],
    ["nowhere", 0],
    {},
    {"a": 1},
    {"__value__": [1]},
]
ODD += [{"__value__": {"a": [1]}}, ["1", 0], ["4", 0], ["7", 0], ["7", 2]]


def good_chain(server) -> Graph:
    """A taught concept, as small as it goes; nodes 1 to 8."""
    graph = Graph(server)
    loaded = graph.demo_model()  # 1
    drawn = graph.add("CNS_DemoConcept", concept="robot", count=1, seed=0)  # 2
    concept = graph.concept([drawn, 0], noun="toy", captions="a toy on grass")  # 3
    general = graph.general(loaded[0], loaded[1], 2)  # 4
    neurons = graph.select(loaded[0], loaded[1], concept, general)  # 5, 6
    state = graph.train(loaded, concept, [neurons, 0], steps=1, autosave=False)  # 7
    graph.text([state, 2])  # 8
    return graph


def good_inputs(graph: Graph, kind: str) -> dict:
    """Of any node of the pack; ``graph`` is the good chain."""
    chain = {node["class_type"]: node["inputs"] for node in graph.prompt.values()}
    state = ["7", 0]
    if kind == "CNS_TrainStep":  # its token is taught already: all inputs are checked, and no time goes into training
        return {**chain[kind], "previous_state": state}
    wired = {"model": ["1", 0], "clip": ["1", 1], "state": state}
    needed = {one.name: wired.get(one.name, one.default) for one in inputs_of(graph.object_info[kind])}
    return chain.get(kind, {**needed, **OWN.get(kind, {})})


OWN = {
    "CNS_SaveState": {"filename_prefix": "cns/fuzz"},
    "CNS_LoadState": {"state_name": "nowhere.safetensors"},
    "CNS_LoadConceptImages": {"folder": "cns_test", "resolution": 64},
    "CNS_InspectPrompts": {"queries": "a dog\na cat", "calibration_prompts": "a house by a lake"},
}
KINDS = ("CNS_ApplyState", "CNS_InspectState", "CNS_LoadDemoModel", "CNS_DemoConcept", "CNS_CaptionConceptImages", *OWN)
KINDS += ("CNS_ComputeBaseNeurons", "CNS_ComputeGeneralNeurons", "CNS_SelectConceptNeurons", "CNS_TrainStep")
SCHEMAS = {schema.node_id: schema for schema in (node.define_schema() for node in NODES) if schema.node_id in KINDS}
PLACES = [(kind, name) for kind, schema in SCHEMAS.items() for name in (one.id for one in schema.inputs or [])]


class Weights:
    """Of the demo model in the server, as ComfyUI's own nodes save them."""

    def __init__(self, server, base) -> None:
        self.server, self.folder, self.count = server, base / "output" / "cns_fuzz", 0
        server.run(good_chain(server).prompt)  # loads the model that all later prompts find in the cache
        self.before = self.saved()

    def saved(self) -> dict[str, torch.Tensor]:
        self.count += 1
        graph = good_chain(self.server)
        graph.add("ModelSave", model=["1", 0], filename_prefix=f"cns_fuzz/model{self.count}")
        graph.add("CLIPSave", clip=["1", 1], filename_prefix=f"cns_fuzz/clip{self.count}")
        result = self.server.run(graph.prompt)
        assert result.error is None, result.error
        assert "1" in result.cached  # the very model that the prompts before had
        tensors = {}
        for path in sorted(self.folder.iterdir()):
            tensors |= {f"{path.name[:4]}.{name}": value for name, value in load_file(path).items()}
            path.unlink()
        return tensors

    def check(self) -> None:
        now = self.saved()
        assert len(now) == len(self.before) > 100
        for (name, value), before in zip(now.items(), self.before.values(), strict=True):
            assert torch.equal(bits(value), bits(before)), name


@pytest.fixture(scope="module")
def weights(server, base, pictures):
    return Weights(server, base)


def bits(weight: torch.Tensor) -> torch.Tensor:
    """By which NaN equals NaN: ComfyUI leaves a text projection that SD 1.5 does not have uninitialized."""
    return weight.flatten().view(torch.uint8)


def check(server, kind: str, changes: dict) -> None:
    graph = good_chain(server)
    graph.prompt["odd"] = {"class_type": kind, "inputs": {**good_inputs(graph, kind), **changes}}
    graph.prompt["shown"] = {"class_type": "PreviewAny", "inputs": {"source": ["odd", 0]}}
    answer = ""
    try:
        result = server.run(graph.prompt, timeout=120)
    except PromptRefused as refused:
        answer = str(refused)
    if answer:
        assert not PACK.search(answer), answer
        return
    assert "1" in result.cached  # no prompt made ComfyUI load the model again
    if result.error is None:
        return
    message = result.error["exception_message"].strip()
    if not result.error["exception_type"].endswith("CNSError"):
        assert not PACK.search("".join(result.error["traceback"])), (changes, result.error)
    assert len(message.splitlines()) == 1, (changes, message)
    assert message.endswith((".", "!", ")")), (changes, message)


@thrown(150)
@given(place=st.sampled_from(PLACES), value=st.sampled_from(ODD))
@example(place=("CNS_ApplyState", "model"), value=5)
@example(place=("CNS_ApplyState", "strength"), value=float("nan"))
@example(place=("CNS_ApplyState", "state"), value="x")
@example(place=("CNS_SelectConceptNeurons", "strategy"), value={"a": 1})
@example(place=("CNS_LoadConceptImages", "folder"), value={"a": 1})
@example(place=("CNS_LoadState", "state_name"), value=None)
@example(place=("CNS_SaveState", "filename_prefix"), value="\ud800")
@example(place=("CNS_SaveState", "filename_prefix"), value="a\nb")
@example(place=("CNS_TrainStep", "template"), value="a\nb\n\nc")
@example(place=("CNS_DemoConcept", "concept"), value="nowhere")
@example(place=("CNS_TrainStep", "learning_rate"), value=["1", 0])
def test_anything_on_one_input(server, weights, place, value):
    kind, name = place
    check(server, kind, {name: value})


@thrown(30)
@given(data=st.data())
def test_anything_on_several_inputs(server, weights, data):
    kind = data.draw(st.sampled_from(sorted(SCHEMAS)))
    names = [name for owner, name in PLACES if owner == kind]
    check(server, kind, data.draw(st.dictionaries(st.sampled_from(names), st.sampled_from(ODD), min_size=1)))


def test_the_model_is_what_it_was(weights):
    weights.check()
