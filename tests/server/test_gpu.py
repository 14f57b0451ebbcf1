"""On a graphics card, as ComfyUI starts there by default: float16, and dynamic VRAM where it has that."""

from __future__ import annotations

import numpy as np
import pytest

from demo.editor.comfy_server import ComfyServer
from tests.support.graphs import Graph, pixels

PLAIN, TAUGHT = "photo of a dog on a beach", "photo of a <new1> dog on a beach"


@pytest.mark.gpu
def test_teach_and_apply_on_the_card(comfyui, base, checkpoint, pictures):
    with ComfyServer(comfyui, base, options=()) as server:

        def picture(graph: Graph, shown: str) -> np.ndarray:
            result = server.run(graph.prompt)
            assert result.error is None, result.error
            return pixels(server, result, shown)

        def ordinary(text: str) -> np.ndarray:
            graph = Graph(server)
            return picture(graph, graph.show(graph.sample(*graph.checkpoint(), text)))

        before = ordinary(PLAIN)
        graph = Graph(server)
        loaded = graph.checkpoint()
        concept = graph.concept(graph.images(pictures["dog"]))
        neurons = graph.select(loaded[0], loaded[1], concept, graph.general(loaded[0], loaded[1]))
        prior = graph.sample(*loaded, "photo of a dog")
        state = graph.train(loaded, concept, [neurons, 0], prior_images=prior, resolution=512, steps=5)
        applied = graph.add("CNS_ApplyState", model=loaded[0], clip=loaded[1], state=[state, 0], strength=1.0)
        taught = picture(graph, graph.show(graph.sample([applied, 0], [applied, 1], loaded[2], TAUGHT)))
        assert np.ptp(taught) > 0
        assert not np.array_equal(taught, before)

        # The same tokens, but not the same text, for which ComfyUI would only show the first picture again.
        assert np.array_equal(before, ordinary(PLAIN.replace(" ", "  ")))
