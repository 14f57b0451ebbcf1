"""A state of fifty concepts: saved, applied, taught one more."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.apply.apply import apply_state
from cns_pack.cns_core.figures import state_figures
from cns_pack.cns_core.masks import NeuronMask
from cns_pack.cns_core.state import CNSState, LearnedConcept
from cns_pack.cns_core.state_file import load_state, save_state

from tests.comfy.conftest import concept_of
from tests.support.loading import expected_weights, load, same

COUNT = 50


@pytest.fixture(scope="module")
def fifty(studio) -> CNSState:
    """Each concept has 5 % of the weights, drawn at random, and moves them by about a hundredth."""
    state, rng = CNSState.empty(studio.checkpoint.layout, studio.checkpoint.fingerprint), np.random.default_rng(0)
    for number in range(1, COUNT + 1):
        token, generator = f"<new{number}>", torch.Generator().manual_seed(number)
        mask = NeuronMask.from_flat(state.layout, rng.random(state.layout.size) < 0.05)
        vectors = 0.02 * torch.randn(1, state.layout.in_features, generator=generator)
        learned = LearnedConcept(token, "dog", mask, vectors, (f"photo of a {token} dog",))
        state = state.with_concept(learned, 0.01 * torch.randn(mask.count, generator=generator))
    return state


def test_one_set_of_values_for_all(fifty, tmp_path):
    assert fifty.delta.mask.share == pytest.approx(1 - 0.95**COUNT, abs=0.01)
    path = tmp_path / "fifty.safetensors"
    save_state(fifty, path)
    values, bits = 4 * fifty.delta.mask.count, (COUNT + 1) * fifty.layout.size // 8
    history = sum(4 * len(c.before) for c in fifty.concepts if c.before is not None)
    assert path.stat().st_size < 1.1 * (values + bits + history) + 1000 * COUNT
    back = load_state(path)
    assert torch.equal(back.delta.values, fifty.delta.values)
    assert [concept.token for concept in back.concepts] == [f"<new{number}>" for number in range(1, COUNT + 1)]
    assert all(ours.mask.equals(theirs.mask) for ours, theirs in zip(back.concepts, fifty.concepts, strict=True))
    assert "50 concepts" in state_figures(back)


def test_all_tokens_are_known_and_the_weights_are_exact(studio, fifty):
    load([studio.model])
    before, expected = studio.weights(), expected_weights(studio, fifty, 1.0)
    with torch.inference_mode():
        model, clip = apply_state(studio.checkpoint, fifty, 1.0)
        entries = clip.tokenize("a <new50> dog and a <new7> dog")["l"][0]
    load([model])
    assert same(studio.weights(), expected)
    vectors = [entry[0] for entry in entries if torch.is_tensor(entry[0])]
    assert [torch.equal(vector, fifty.concepts[n - 1].vectors[0]) for vector, n in zip(vectors, (50, 7), strict=True)] == [
        True,
        True,
    ]
    load([studio.model])
    assert same(studio.weights(), before)


def test_one_more_is_taught(studio, fifty):
    concept = concept_of("<new51>", "hat", 3)
    state, result = studio.teach(concept, previous=fifty, steps=2)
    assert len(state.concepts) == COUNT + 1
    outside = fifty.delta.mask.without(state.concepts[-1].mask)
    assert outside.count > 0
    assert torch.equal(state.delta.at(outside), fifty.delta.at(outside))
    assert len(result.moved) == COUNT + 1  # every earlier concept is held, and ordinary prompts
