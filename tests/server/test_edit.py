"""A state that is muted, edited and taught again, and a training that is cancelled and goes on: on a real server."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from tests.support.graphs import Graph, pixels

ORDINARY = "a house by a lake\ntwo red cars in the rain\nan oil painting of a cat\nan empty street at night"


@pytest.fixture
def autosaves(base):
    folder = base / "output" / "cns" / "autosave"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def taught(graph: Graph, pictures, loaded: tuple, nouns: tuple[str, ...], state: list | None = None, **training) -> list:
    """The state after these nouns, as <new1>, <new2>, …"""
    model, clip, _ = loaded
    general = graph.general(model, clip)
    for number, noun in enumerate(nouns, start=1):
        concept = graph.concept(graph.images(pictures[noun]), f"<new{number}>", noun)
        neurons = [graph.select(model, clip, concept, general, strategy="all K/V"), 0]
        earlier = {"previous_state": state} if state else {}
        state = [graph.train(loaded, concept, neurons, **{"neuron_lr": 0.05, **earlier, **training}), 0]
    return state


def drawn(graph: Graph, loaded: tuple, state: list, strengths: str = "") -> str:
    model, clip, vae = loaded
    inputs = {"state": state, "strength": 1.0, "concept_strengths": strengths}
    applied = graph.add("CNS_ApplyState", model=model, clip=clip, **inputs)
    return graph.show(graph.sample([applied, 0], [applied, 1], vae, "a red star in a forest"))


def removed(graph: Graph, loaded: tuple, state: list, token: str) -> str:
    model, clip, _ = loaded
    return graph.add("CNS_RemoveConcept", model=model, clip=clip, state=state, token=token, ordinary_prompts=ORDINARY)


def test_mute_remove_and_teach_again(server, pictures, autosaves):
    graph = Graph(server)
    loaded = model, clip, vae = graph.demo_model()
    state = taught(graph, pictures, loaded, ("dog", "hat"), keep_steps="1")
    shown = {"as taught": drawn(graph, loaded, state)}
    shown["muted"] = drawn(graph, loaded, state, "<new1> 0, <NEW2>: 0")
    shown["plain"] = graph.show(graph.sample(model, clip, vae, "a red star in a forest"))
    last = removed(graph, loaded, state, "<new2>")
    first = removed(graph, loaded, [last, 0], "<new1>")
    shown["all removed"] = drawn(graph, loaded, [first, 0])
    without_dog = removed(graph, loaded, state, "<new1>")
    again = taught(graph, pictures, loaded, ("dog",), [without_dog, 0])
    saved = graph.add("CNS_SaveState", state=again, filename_prefix="cns/again", history=False)
    result = server.run(graph.prompt)
    assert result.error is None, result.error
    images = {name: pixels(server, result, node) for name, node in shown.items()}
    assert not np.array_equal(images["as taught"], images["plain"])
    assert np.array_equal(images["all removed"], images["plain"])
    assert np.array_equal(images["muted"], images["plain"])
    assert "`<new2> hat` removed, exactly as before it was taught: K and V of its prompts" in result.outputs[last]["text"][0]
    assert "`<new1> dog` removed: K and V of its prompts differ" in result.outputs[without_dog]["text"][0]
    summary = result.outputs[saved]["text"][0]
    assert summary.index("<new2> hat") < summary.index("<new1> dog")
    assert sum("step1_" in file.name for file in autosaves.iterdir()) == 2

    later = Graph(server)
    loaded = later.demo_model()
    stored = later.add("CNS_LoadState", state_name="again_00001_.safetensors")
    drawn(later, loaded, [stored, 0], "<new2> 0")
    refused = server.run(later.prompt).error["exception_message"]
    assert refused.startswith("The state does not record what <new1> dog changed")


def test_a_cancelled_training_goes_on(server, pictures, autosaves):
    graph = Graph(server)
    state = taught(graph, pictures, graph.demo_model(), ("dog",), steps=40, keep_cancelled=True)
    figures = graph.text([state[0], 2])
    sent = []

    def cancel_at_five(message):
        if message["type"] == "progress" and message["data"].get("max") == 40 and message["data"]["value"] >= 5 and not sent:
            sent.append(server.interrupt())

    assert server.run(graph.prompt, on_message=cancel_at_five).interrupted
    assert [file.name for file in autosaves.iterdir()] == ["new1-dog.unfinished"]
    result = server.run(graph.prompt)
    assert result.error is None, result.error
    summary = result.outputs[figures]["text"][0]
    assert "- resumed after step " in summary
    assert re.search(r"`<new1> dog`: 40 steps, \d+ of them now in ", summary)
    assert not any(file.suffix == ".unfinished" for file in autosaves.iterdir())
