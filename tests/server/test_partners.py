"""Nodes that change a checkpoint, between its loader and the pack's nodes: on a real server, with the demo model."""

from __future__ import annotations

from demo.editor.comfy_server import Result
from tests.support.graphs import Graph, pixels


def message_of(result: Result) -> str:
    assert result.error is not None, "no error was reported"
    assert result.error["exception_type"].endswith("CNSError"), result.error
    return result.error["exception_message"].strip()


def taught(graph: Graph, pictures, loaded: tuple, general_clip: list | None = None) -> str:
    model, clip, _ = loaded
    concept = graph.concept(graph.images(pictures["dog"]))
    neurons = [graph.select(model, clip, concept, graph.general(model, general_clip or clip)), 0]
    return graph.train(loaded, concept, neurons, steps=1)


def clip_skip(graph: Graph, clip: list, layer: int) -> list:
    return [graph.add("CLIPSetLastLayer", clip=clip, stop_at_clip_layer=layer), 0]


def test_state_taught_with_clip_skip_needs_it_again(server, pictures):
    graph = Graph(server)
    model, clip, vae = graph.demo_model()
    skipped = clip_skip(graph, clip, -2)
    state = taught(graph, pictures, (model, skipped, vae))
    saved = graph.add("CNS_SaveState", state=[state, 0], filename_prefix="cns/skipped")
    applied = graph.add("CNS_ApplyState", model=model, clip=skipped, state=[saved, 0], strength=1.0)
    shown = graph.show(graph.sample([applied, 0], [applied, 1], vae, "a <new1> dog"))
    result = server.run(graph.prompt)
    assert result.error is None, result.error
    assert pixels(server, result, shown).shape == (64, 64, 3)

    later = Graph(server)
    model, clip, vae = later.demo_model()
    stored = later.add("CNS_LoadState", state_name="skipped_00001_.safetensors")
    applied = later.add("CNS_ApplyState", model=model, clip=clip, state=[stored, 0], strength=1.0)
    later.show(later.sample([applied, 0], [applied, 1], vae, "a <new1> dog"))
    refused = server.run(later.prompt)
    assert "- taught with CLIP skip 2" in refused.outputs[stored]["text"][0]
    assert message_of(refused) == (
        "The state was made with CLIP skip 2, but the CLIP wired in has CLIP skip 1: put CLIP Set Last Layer with "
        "stop_at_clip_layer -2 right after the loader."
    )


def test_neurons_of_two_clip_skips(server, pictures):
    graph = Graph(server)
    loaded = graph.demo_model()
    graph.text([taught(graph, pictures, loaded, clip_skip(graph, loaded[1], -2)), 2])
    message = message_of(server.run(graph.prompt))
    assert message.startswith("The mask of the general neurons was made with CLIP skip 2, but")
    assert message.endswith(": wire the same MODEL and CLIP into all CNS nodes.")


def test_a_model_that_was_sampled_from_is_still_the_loaders(server, pictures):
    """Sampling leaves options, object patches and hooks of its own on a model: none of them may stay."""
    graph = Graph(server)
    model, clip, vae = graph.demo_model()
    tuned = [graph.add("FreeU_V2", model=model, b1=1.3, b2=1.4, s1=0.9, s2=0.2), 0]
    sampling = [graph.add("ModelSamplingDiscrete", model=tuned, sampling="v_prediction", zsnr=True), 0]
    concept = graph.concept(graph.images(pictures["dog"]))
    prior = graph.sample(sampling, clip, vae, "photo of a dog")
    neurons = [graph.select(model, clip, concept, graph.general(model, clip)), 0]
    trained = graph.train((model, clip, vae), concept, neurons, steps=1, prior_images=prior)
    graph.text([trained, 2])
    result = server.run(graph.prompt)
    assert result.error is None, result.error


def test_free_u_before_training(server, pictures):
    graph = Graph(server)
    model, clip, vae = graph.demo_model()
    tuned = [graph.add("FreeU_V2", model=model, b1=1.3, b2=1.4, s1=0.9, s2=0.2), 0]
    graph.text([taught(graph, pictures, (tuned, clip, vae)), 2])
    assert "changed by another node, such as IPAdapter, FreeU or PAG (patches.output_block_patch)" in message_of(
        server.run(graph.prompt)
    )


def test_v_prediction_before_training(server, pictures):
    graph = Graph(server)
    model, clip, vae = graph.demo_model()
    sampling = [graph.add("ModelSamplingDiscrete", model=model, sampling="v_prediction", zsnr=True), 0]
    graph.text([taught(graph, pictures, (sampling, clip, vae)), 2])
    message = message_of(server.run(graph.prompt))
    assert "predicts V_PREDICTION, but CNS trains with a loss that is right only for checkpoints that predict" in message
    assert "loader's output" not in message
