"""A server that is killed while it trains; the next one finds everything that had been there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from demo.editor.comfy_server import ComfyServer
from demo.model import MODEL_FILE
from tests.support.aftermath import damaged_states
from tests.support.graphs import Graph, pixels


class Killed(Exception):
    """Ends the waiting for a server that is gone."""


def teaching(server, pictures, steps: int) -> tuple[Graph, tuple, str]:
    """The graph, its checkpoint's outputs and the node that trains."""
    graph = Graph(server)
    loaded = graph.demo_model()
    concept = graph.concept(graph.images(pictures["dog"]))
    selected = graph.select(*loaded[:2], concept, graph.general(*loaded[:2]))
    return graph, loaded, graph.train(loaded, concept, [selected, 0], steps=steps)


def picture_with(graph: Graph, loaded: tuple, state: str) -> str:
    model, clip, vae = loaded
    applied = graph.add("CNS_ApplyState", model=model, clip=clip, state=[state, 0], strength=1.0)
    return graph.show(graph.sample([applied, 0], [applied, 1], vae, "photo of a <new1> dog"))


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_killed_while_training(comfyui, base, pictures, reliability):
    states = base / "output" / "cns"
    with ComfyServer(comfyui, base) as server:
        graph, loaded, trained = teaching(server, pictures, steps=2)
        saved = graph.add("CNS_SaveState", state=[trained, 0], filename_prefix="cns/killed")
        shown = picture_with(graph, loaded, trained)
        result = server.run(graph.prompt)
        assert result.error is None, result.error
        expected = pixels(server, result, shown)
        name = Path(result.outputs[saved]["text"][0].splitlines()[0]).name
        checkpoint, before = MODEL_FILE.read_bytes(), files(states)

        def kill_at_two(message: dict) -> None:
            if message["type"] == "progress" and message["data"].get("max") == 500 and message["data"]["value"] >= 2:
                server.kill()
                raise Killed

        longer, _, again = teaching(server, pictures, steps=500)
        longer.text([again, 2])
        with pytest.raises(Killed):
            server.run(longer.prompt, on_message=kill_at_two)
    left = Counter({"damaged state": len(damaged_states(states))})
    left["changed files"] += files(states) != before
    left["changed checkpoint"] += MODEL_FILE.read_bytes() != checkpoint
    with ComfyServer(comfyui, base) as server:
        graph = Graph(server)
        loaded = graph.demo_model()
        shown = picture_with(graph, loaded, graph.add("CNS_LoadState", state_name=name))
        result = server.run(graph.prompt)
        assert result.error is None, result.error
        left["another picture"] += not np.array_equal(expected, pixels(server, result, shown))
    reliability.add("kill -9", "a server is training", Counter(killed=1), +left)
    assert not +left
