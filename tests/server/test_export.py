"""Exported files in a ComfyUI that could do without the pack: Load LoRA, embeddings, Load Checkpoint, at SD-1.5's full size."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.graphs import Graph, free, pixels

logger = logging.getLogger(__name__)
PROMPT = "photo of a {} dog wearing a ({} hat:1.2)"
TAUGHT = PROMPT.format("<new1>", "<new2>")


def export(graph: Graph, loaded: tuple, state: list, target: str, precision: str, name: str) -> str:
    model, clip, vae = loaded
    inputs = {"target": target, "precision": precision, "filename_prefix": f"cns_export/{name}", "vae": vae}
    return graph.add("CNS_ExportState", model=model, clip=clip, state=state, **inputs)


@pytest.fixture(scope="module")
def exports(server, pictures, base):
    """Two concepts with large changes, exported in every format; what Apply CNS State and the plain checkpoint draw."""
    folder = base / "output" / "cns_export"
    shutil.rmtree(folder, ignore_errors=True)
    graph = Graph(server)
    loaded = model, clip, vae = graph.checkpoint()
    general, state = graph.general(model, clip), None
    for token, noun, vectors in (("<new1>", "dog", 2), ("<new2>", "hat", 1)):
        concept = graph.concept(graph.images(pictures[noun]), token, noun)
        neurons = [graph.select(model, clip, concept, general), 0]
        earlier = {"previous_state": state} if state else {}
        state = [graph.train(loaded, concept, neurons, steps=1, neuron_lr=1e-2, vectors=vectors, **earlier), 0]
    applied = graph.add("CNS_ApplyState", model=model, clip=clip, state=state, strength=1.0)
    shown = graph.show(graph.sample([applied, 0], [applied, 1], vae, TAUGHT))
    plain = graph.show(graph.sample(model, clip, vae, TAUGHT))
    exact = export(graph, loaded, state, "LoRA", "float32", "exact")
    half = export(graph, loaded, state, "LoRA", "float16", "half")
    whole = export(graph, loaded, state, "checkpoint", "float16", "whole")
    result = server.run(graph.prompt)
    assert result.error is None, result.error
    for node in (exact, half, whole):
        logger.info("%s", result.outputs[node]["text"][0])
    yield pixels(server, result, shown), pixels(server, result, plain), folder
    shutil.rmtree(folder)


def installed(exports: Path, base: Path, name: str, kind: str, copies: list[Path]) -> None:
    """Copies an export to where ComfyUI looks for such files."""
    for file in (exports / name).iterdir():
        folder = base / "models" / (kind if file.stem == name else "embeddings")
        folder.mkdir(parents=True, exist_ok=True)
        copies.append(Path(shutil.copy(file, folder)))


@pytest.fixture
def copies():
    made: list[Path] = []
    yield made
    for path in made:
        path.unlink()


def picture_of_lora(server, base, name: str) -> np.ndarray:
    graph = Graph(server)
    model, clip, vae = graph.checkpoint()
    lora = graph.add(
        "LoraLoader", model=model, clip=clip, lora_name=f"{name}.safetensors", strength_model=1.0, strength_clip=1.0
    )
    text = PROMPT.format(f"embedding:{name}-new1", f"embedding:{name}-new2")
    shown = graph.show(graph.sample([lora, 0], [lora, 1], vae, text))
    result = server.run(graph.prompt)
    assert result.error is None, result.error
    return pixels(server, result, shown)


@pytest.mark.parametrize(("name", "furthest"), [("exact", 0), ("half", 8)])
def test_load_lora_and_embeddings_draw_what_apply_draws(server, base, exports, copies, name, furthest):
    applied, plain, folder = exports
    installed(folder, base, name, "loras", copies)
    drawn = picture_of_lora(server, base, name)
    distance = int(np.abs(drawn.astype(int) - applied).max())
    logger.info("%s: largest difference of a picture's value %s of 255", name, distance)
    assert distance <= furthest
    assert np.abs(plain.astype(int) - applied).mean() > 10 * np.abs(drawn.astype(int) - applied).mean()


def test_checkpoint_draws_what_apply_draws(server, base, exports, copies):
    applied, _, folder = exports
    installed(folder, base, "whole", "checkpoints", copies)
    graph = Graph(server)
    model, clip, vae = graph.checkpoint("whole.safetensors")
    shown = graph.show(graph.sample(model, clip, vae, PROMPT.format("embedding:whole-new1", "embedding:whole-new2")))
    result = server.run(graph.prompt)
    assert result.error is None, result.error
    assert np.array_equal(pixels(server, result, shown), applied)
    free(server)


def test_sizes_are_those_of_the_page(exports):
    folder = exports[2]
    sizes = {name: (folder / name / f"{name}.safetensors").stat().st_size / 1e6 for name in ("exact", "half")}
    assert sizes["exact"] == pytest.approx(77, abs=1)
    assert sizes["half"] == pytest.approx(38, abs=1)
    assert (folder / "exact" / "exact-new2.safetensors").stat().st_size == pytest.approx(3150, abs=100)
