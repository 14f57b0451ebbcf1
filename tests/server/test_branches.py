"""Branches of one graph: with a state, without, with LoRAs before and after. Each draws what it draws when it runs alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.support.graphs import CAPTIONS, Graph, free, pixels

TEXT = "a <new1> dog on a green field"


@pytest.fixture(scope="module")
def lora(base) -> str:
    """A LoRA on a matrix the state changes too, and on one it does not."""
    generator = torch.Generator().manual_seed(0)
    block = "lora_unet_input_blocks_1_1_transformer_blocks_0"
    shapes = {f"{block}_attn2_to_k": (64, 128), f"{block}_attn1_to_q": (64, 64)}
    tensors = {}
    for name, (rows, columns) in shapes.items():
        tensors[f"{name}.lora_up.weight"] = torch.randn(rows, 4, generator=generator) * 0.3
        tensors[f"{name}.lora_down.weight"] = torch.randn(4, columns, generator=generator) * 0.3
        tensors[f"{name}.alpha"] = torch.tensor(4.0)
    folder = base / "models" / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "cns_test.safetensors")
    return "cns_test.safetensors"


@pytest.fixture(scope="module")
def states(server, pictures) -> list[str]:
    """Files of a first concept, and of it with a second."""
    graph = Graph(server)
    node = graph.add("CNS_LoadDemoModel")
    loaded = [node, 0], [node, 1], [node, 2]
    general, state, saved = graph.general(*loaded[:2]), {}, []
    for token, noun in (("<new1>", "dog"), ("<new2>", "hat")):
        concept = graph.concept(graph.images(pictures[noun]), token, noun, captions=CAPTIONS[noun])
        neurons = [graph.select(loaded[0], loaded[1], concept, general), 0]
        trained = graph.train(loaded, concept, neurons, neuron_lr=0.02, **state)
        state = {"previous_state": [trained, 0]}
        saved.append(graph.add("CNS_SaveState", state=[trained, 0], filename_prefix=f"cns/branch_{noun}"))
    result = server.run(graph.prompt)
    assert result.error is None, result.error
    return [result.outputs[node]["text"][0].splitlines()[0].replace("\\", "/").rpartition("/")[2] for node in saved]


class Branches:
    """Names of branches -> what they add between loader and sampler."""

    def __init__(self, states: list[str], lora: str) -> None:
        self.first, self.both, self.lora = states[0], states[1], lora

    NAMES = ("plain", "first", "both", "lora", "lora then state", "state then lora", "half")

    def build(self, graph: Graph, loaded: tuple, name: str) -> str:
        """Adds the branch; returns its SaveImage."""
        model, clip, vae = loaded
        for part in name.split(" then ") if " then " in name else [name]:
            if part == "lora":
                loader = graph.add("LoraLoaderModelOnly", model=model, lora_name=self.lora, strength_model=1.0)
                model = [loader, 0]
            elif part != "plain":
                stored = graph.add("CNS_LoadState", state_name=self.both if part == "both" else self.first)
                strength = 0.5 if part == "half" else 1.0
                applied = graph.add("CNS_ApplyState", model=model, clip=clip, state=[stored, 0], strength=strength)
                model, clip = [applied, 0], [applied, 1]
        return graph.add("SaveImage", images=graph.sample(model, clip, vae, TEXT), filename_prefix=f"cns/{name}")

    def draw(self, server, names: tuple[str, ...]) -> list[np.ndarray]:
        """Pictures of branches that run in one graph, in this order."""
        graph = Graph(server)
        node = graph.add("CNS_LoadDemoModel")
        shown = [self.build(graph, ([node, 0], [node, 1], [node, 2]), name) for name in names]
        result = server.run(graph.prompt)
        assert result.error is None, result.error
        return [pixels(server, result, node) for node in shown]


@pytest.fixture(scope="module")
def branches(states, lora) -> Branches:
    return Branches(states, lora)


@pytest.fixture(scope="module")
def alone(server, branches) -> dict[str, np.ndarray]:
    """Each branch run by itself, with nothing loaded before."""
    pictures = {}
    for name in Branches.NAMES:
        free(server)
        (pictures[name],) = branches.draw(server, (name,))
    return pictures


def test_branches_differ(alone):
    for one, other in itertools.combinations(Branches.NAMES, 2):
        if {one, other} != {"lora then state", "state then lora"}:
            assert np.abs(alone[one].astype(int) - alone[other]).max() > 8, (one, other)


def test_order_of_lora_and_state_does_not_matter(alone):
    """Up to the rounding of sums in another order."""
    apart = np.abs(alone["lora then state"].astype(int) - alone["state then lora"])
    assert apart.max() <= 1, apart.max()


@pytest.mark.parametrize(
    "names",
    [
        ("plain", "first"),
        ("first", "plain"),
        ("first", "both", "first", "plain"),
        ("both", "half", "plain", "both"),
        ("lora", "state then lora", "first", "plain"),
        ("first", "lora then state", "lora", "first"),
        Branches.NAMES,
        Branches.NAMES[::-1],
    ],
    ids=" | ".join,
)
def test_branches_do_not_disturb_each_other(server, branches, alone, names):
    for name, picture in zip(names, branches.draw(server, names), strict=True):
        assert np.array_equal(picture, alone[name]), name
