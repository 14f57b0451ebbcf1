"""The whole job on a real ComfyUI server with the full SD-1.5 architecture: teach two concepts, save, restart, generate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cns_pack.cns_core.comfy_adapter.checkpoint.checkpoint import weight_key
from cns_pack.cns_core.state_file import load_state
from safetensors.torch import load_file, save_file

from demo.editor.comfy_server import ComfyServer
from demo.training.random_checkpoint import NAME
from tests.support.graphs import Graph, free, pixels

MERGED = "cns_test_merged.safetensors"
PROMPT = "photo of a <new1> dog wearing a (<new2>:1.2) hat"


def teach_two(server, pictures, prefix: str = "cns/two", **training) -> tuple[Graph, dict[str, str]]:
    graph = Graph(server)
    loaded = graph.checkpoint()
    model, clip, vae = loaded
    general = graph.general(model, clip)
    nodes, state = {}, None
    for token, noun in (("<new1>", "dog"), ("<new2>", "hat")):
        concept = graph.concept(graph.images(pictures[noun]), token, noun)
        prior = graph.sample(model, clip, vae, f"photo of a {noun}")
        earlier = {"state": [state, 0]} if state else {}
        nodes[f"select {noun}"] = graph.select(model, clip, concept, general, **earlier)
        chained = {"previous_state": [state, 0]} if state else {}
        priors = {"prior_images": prior, "prior_prompts": f"photo of a {noun}"}
        state = graph.train(loaded, concept, [nodes[f"select {noun}"], 0], **chained, **priors, **training)
        nodes[f"train {noun}"] = state
        nodes[f"plot {noun}"] = graph.show([state, 1])
        nodes[f"figures {noun}"] = graph.text([state, 2])
        nodes[f"selection plot {noun}"] = graph.show([nodes[f"select {noun}"], 2])
        nodes[f"selection {noun}"] = graph.text([nodes[f"select {noun}"], 1])
        nodes[f"captions {noun}"] = graph.text([concept[0], 1])
    nodes["save"] = graph.add("CNS_SaveState", state=[state, 0], filename_prefix=prefix)
    applied = graph.add("CNS_ApplyState", model=model, clip=clip, state=[state, 0], strength=1.0)
    nodes["taught picture"] = graph.show(graph.sample([applied, 0], [applied, 1], vae, PROMPT))
    nodes["base picture"] = graph.show(graph.sample(model, clip, vae, "photo of a dog wearing a hat"))
    return graph, nodes


@pytest.fixture(scope="module")
def taught(server, pictures):
    graph, nodes = teach_two(server, pictures)
    result = server.run(graph.prompt)
    assert result.error is None, result.error
    # Read now: another server on the same folders empties ComfyUI's temp when it starts.
    shown = {name: pixels(server, result, node) for name, node in nodes.items() if "picture" in name or "plot" in name}
    return graph, nodes, result, Path(text_of(result, nodes["save"]).splitlines()[0]), shown


def text_of(result, node: str) -> str:
    return result.outputs[node]["text"][0]


def test_figures_of_the_selection(taught):
    _, nodes, result, path, _ = taught
    first, second = text_of(result, nodes["selection dog"]), text_of(result, nodes["selection hat"])
    assert "of K/V weights" not in first
    assert "IoU with `<new1> dog`" in second
    state = load_state(path)
    assert f"{state.concepts[0].mask.count:,}" in first
    assert 0.005 < state.concepts[0].mask.share < 0.15  # about 5 % in the paper, 5.6–6.9 % in our trial
    assert text_of(result, nodes["captions dog"]).splitlines()[2] == "a small dog"


STEPS = [(1, 3), (2, 3), (3, 3)]


def test_progress_is_shown(taught):
    _, nodes, result, _, _ = taught
    node = nodes["train dog"]
    progress = [(data["value"], data["max"]) for data in result.of("progress") if data["node"] == node]
    encoding, training = progress[: -len(STEPS)], progress[-len(STEPS) :]
    assert training == STEPS
    images_and_prompts = encoding[-1][1]
    assert encoding == [(number, images_and_prompts) for number in range(1, images_and_prompts + 1)]


def test_losses_reach_the_page_once(taught):
    """Each step's losses and what has moved, in order. No line of text or picture is beside them: the page would draw the chart
    twice.
    """
    _, nodes, result, _, _ = taught
    node = nodes["train hat"]
    messages = [data for data in result.of("cns.live") if (data["kind"], data["node"]) == ("training", node)]
    assert [message["first"] for message in messages] == list(
        np.cumsum([0, *(len(message["rows"]) for message in messages)])[:-1]
    )
    rows = [row for message in messages for row in message["rows"]]
    assert len(rows) == 3
    assert all(instance > 0 and prior > 0 and regularization >= 0 for instance, prior, regularization, _ in rows)
    assert all(0 <= moved < 1 for *_, moved in rows)
    assert [message["progress"] for message in messages][-2:] == ["running", "done"]
    assert node not in {data["node"] for data in result.of("progress_text")}
    assert result.of("preview") == []


# matplotlib's C0, C1, C2, C3, C7
BLUE, ORANGE, GREEN, RED, GRAY = (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (127, 127, 127)


@pytest.mark.parametrize(
    ("name", "drawn", "absent"),
    [
        ("plot hat", {BLUE, ORANGE, GREEN}, RED),  # instance, prior and regularization
        ("selection plot hat", {BLUE, GRAY, ORANGE}, GREEN),  # base, general and chosen neurons
    ],
)
def test_plots_draw_what_there_is(taught, name, drawn, absent):
    picture = taught[4][name]
    assert picture.shape == (450, 800, 3)
    colors = {tuple(color) for color in np.unique(picture.reshape(-1, 3), axis=0).tolist()}
    assert drawn <= colors
    assert absent not in colors


def test_training_figures(taught):
    _, nodes, result, _, _ = taught
    figures = text_of(result, nodes["figures hat"])
    assert "`<new2> hat`: 3 steps in" in figures
    assert "state: 2 concepts" in figures


def test_second_run_comes_from_the_cache(server, taught):
    graph, nodes, *_ = taught
    again = server.run(graph.prompt)
    assert again.error is None
    assert {nodes["train dog"], nodes["train hat"], nodes["select hat"]} <= again.cached
    assert again.seconds < 5


def generate(server, state_name: str, strength: float = 1.0) -> tuple[Graph, dict[str, str]]:
    graph = Graph(server)
    model, clip, vae = graph.checkpoint()
    stored = graph.add("CNS_LoadState", state_name=state_name)
    applied = graph.add("CNS_ApplyState", model=model, clip=clip, state=[stored, 0], strength=strength)
    nodes = {
        "taught picture": graph.show(graph.sample([applied, 0], [applied, 1], vae, PROMPT)),
        "plain words": graph.show(graph.sample([applied, 0], [applied, 1], vae, "photo of a dog wearing a hat")),
        "base picture": graph.show(graph.sample(model, clip, vae, "photo of a dog wearing a hat")),
    }
    return graph, nodes


def test_save_restart_load_gives_the_same_picture(server, comfyui, base, taught):
    path, shown = taught[3:]
    free(server)  # there may not be room for both servers' models
    with ComfyServer(comfyui, base) as fresh:
        graph, loaded = generate(fresh, path.name)
        second = fresh.run(graph.prompt)
        assert second.error is None, second.error
        for name in ("taught picture", "base picture"):
            assert np.array_equal(shown[name], pixels(fresh, second, loaded[name])), name
        taught_words, base_words = (pixels(fresh, second, loaded[name]) for name in ("plain words", "base picture"))
        assert not np.array_equal(taught_words, base_words)


def test_strength_zero_is_the_base_model(server, taught):
    graph, nodes = generate(server, taught[3].name, strength=0.0)
    result = server.run(graph.prompt)
    assert result.error is None
    assert np.array_equal(pixels(server, result, nodes["plain words"]), pixels(server, result, nodes["base picture"]))


def test_picture_equals_that_of_a_merged_checkpoint(server, taught, checkpoint, base):
    """The same weights written into a whole checkpoint in float32 give the same pixels."""
    path, pictures_before = taught[3:]
    merged = {name: value.float() if name.startswith("model.") else value for name, value in load_file(checkpoint).items()}
    for layer, positions, values in load_state(path).delta.layers():
        merged[f"model.{weight_key(layer.name)}"].view(-1)[positions] += values
    target = base / "models" / "checkpoints" / MERGED
    save_file(merged, target)
    del merged
    try:
        graph = Graph(server)
        model, clip, vae = graph.checkpoint()
        stored = graph.add("CNS_LoadState", state_name=path.name)
        applied = graph.add("CNS_ApplyState", model=model, clip=clip, state=[stored, 0], strength=1.0)
        merged_model, *_ = graph.checkpoint(MERGED)
        shown = graph.show(graph.sample(merged_model, [applied, 1], vae, PROMPT))
        second = server.run(graph.prompt)
        assert second.error is None, second.error
        assert np.array_equal(pictures_before["taught picture"], pixels(server, second, shown))
        wrong = Graph(server)
        model, clip, vae = wrong.checkpoint(MERGED)
        stored = wrong.add("CNS_LoadState", state_name=path.name)
        applied = wrong.add("CNS_ApplyState", model=model, clip=clip, state=[stored, 0], strength=1.0)
        wrong.show(wrong.sample([applied, 0], [applied, 1], vae, PROMPT))
        refused = server.run(wrong.prompt)
        assert f"was made for the checkpoint with fingerprint {NAME} (" in refused.error["exception_message"]
        assert refused.error["exception_message"].rstrip().endswith(f": load {NAME}.")
    finally:
        free(server)
        target.unlink()


def test_cancel_in_the_middle(server, taught, pictures):
    """Cancel stops within a step, and the model then makes the picture it made before."""
    graph, _ = teach_two(server, pictures, "cns/cancelled", steps=500)
    state = {"sent": False, "steps_after": 0}

    def cancel_at_two(message):
        if message["type"] == "progress" and message["data"].get("max") == 500:
            if state["sent"]:
                state["steps_after"] += 1
            elif message["data"]["value"] >= 2:
                state["sent"] = True
                server.interrupt()

    result = server.run(graph.prompt, on_message=cancel_at_two)
    assert result.interrupted
    assert state["steps_after"] <= 1
    plain = Graph(server)
    model, clip, vae = plain.checkpoint()
    shown = plain.show(plain.sample(model, clip, vae, "photo of a dog wearing a hat"))
    after = server.run(plain.prompt)
    assert np.array_equal(taught[4]["base picture"], pixels(server, after, shown))
