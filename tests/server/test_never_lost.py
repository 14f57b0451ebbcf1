"""A server whose matplotlib is misconfigured runs prompts of programs that say anything about their workflow."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from demo.editor.comfy_server import ComfyServer
from tests.support.graphs import Graph, pixels

NONSENSE = ["text", None, {"workflow": "text"}, {"workflow": {"id": 7}}]


@pytest.fixture(scope="module")
def misconfigured(comfyui, base):
    """As in a notebook, whose programs inherit its MPLBACKEND."""
    with ComfyServer(comfyui, base, environment={"MPLBACKEND": "nonsense"}) as running:
        yield running


def history_of(server: ComfyServer, graph: Graph, extra: object) -> dict:
    """Runs the prompt with ``extra`` for what the editor says about the workflow; what ComfyUI remembers of it."""
    body = {"prompt": graph.prompt, "extra_data": {"extra_pnginfo": extra}}
    identity = server.post("/prompt", body)["prompt_id"]
    for _ in range(3000):
        history = json.loads(server.get(f"/history/{identity}"))
        if identity in history:
            return history[identity]
        time.sleep(0.2)
    raise TimeoutError(server.log()[-2000:])


def teaching(server, pictures, seed: int) -> tuple[Graph, str]:
    """The graph, and its node that trains."""
    graph = Graph(server)
    loaded = graph.demo_model()
    concept = graph.concept(graph.images(pictures["dog"]))
    selected = graph.select(*loaded[:2], concept, graph.general(*loaded[:2]))
    trained = graph.train(loaded, concept, [selected, 0], seed=seed, steps=2)
    applied = graph.add("CNS_ApplyState", model=loaded[0], clip=loaded[1], state=[trained, 0], strength=1.0)
    graph.text([applied, 0])
    graph.text([graph.add("CNS_InspectState", state=[trained, 0]), 3])
    return graph, trained


@pytest.mark.parametrize("extra", NONSENSE, ids=repr)
def test_state_comes_out_and_is_saved(misconfigured, pictures, extra):
    graph, trained = teaching(misconfigured, pictures, seed=NONSENSE.index(extra))
    summary = graph.text([trained, 2])
    done = history_of(misconfigured, graph, extra)
    assert done["status"]["status_str"] == "success", done["status"]
    *_, line = done["outputs"][summary]["text"][0].splitlines()
    saved = Path(line.removeprefix("- autosaved as `").removesuffix("`"))
    assert saved.is_file()
    options = misconfigured.object_info()["CNS_LoadState"]["input"]["required"]["state_name"]
    listed = options[0] if isinstance(options[0], list) else options[1]["options"]
    assert str(Path("autosave", saved.name)) in listed
    again = Graph(misconfigured)
    again.text([again.add("CNS_LoadState", state_name=str(Path("autosave", saved.name))), 1])
    assert history_of(misconfigured, again, extra)["status"]["status_str"] == "success"


def test_plot_says_what_is_wrong(misconfigured, pictures):
    graph, trained = teaching(misconfigured, pictures, seed=9)
    shown = graph.show([trained, 1])
    result = misconfigured.run(graph.prompt)
    assert result.error is None, result.error
    picture = pixels(misconfigured, result, shown)
    assert picture.shape == (450, 800, 3)
    assert tuple(picture[0, 0]) == (255, 255, 255)
    assert 0.005 < np.mean(picture[..., 1] < 128) < 0.2  # letters on white
    assert "Key backend: 'nonsense' is not a valid value" in misconfigured.log()
