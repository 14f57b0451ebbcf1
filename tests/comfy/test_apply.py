from __future__ import annotations

import pytest
import torch
from cns_pack.cns_core.comfy_adapter.apply.apply import apply_state
from cns_pack.cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint, weight_key
from cns_pack.cns_core.errors import CNSError

from tests.support.loading import diff_patch, expected_weights, load, same
from tests.support.tiny_models import tiny_model


@pytest.mark.parametrize("strength", [1.0, 0.5, -1.0, 0.0])
def test_loaded_weights_are_exactly_w0_plus_delta_and_come_back(studio, two_state, strength):
    load([studio.model])
    before, expected = studio.weights(), expected_weights(studio, two_state, strength)
    with torch.inference_mode():
        model, _ = apply_state(studio.checkpoint, two_state, strength)
    load([model])
    assert same(studio.weights(), expected)
    assert same(studio.weights(), before) == (strength == 0.0)
    load([studio.model])
    assert same(studio.weights(), before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_storage(studio, dog_state, dtype):
    """A state made in float32 fits the same checkpoint loaded in 16 bits; the sum is rounded once."""
    half = type(studio)(tiny_model(dtype=dtype), studio.clip)
    load([half.model])
    before, expected = half.weights(), expected_weights(half, dog_state, 1.0, dtype)
    with torch.inference_mode():
        model, _ = apply_state(half.checkpoint, dog_state, 1.0)
    load([model])
    assert same(half.weights(), expected)
    load([half.model])
    assert same(half.weights(), before)


def test_stacks_with_a_lora_before_and_after(studio, dog_state):
    key, patch = diff_patch(studio, 0.25)
    before = studio.weights()
    with torch.inference_mode():
        lora_first = studio.model.clone()
        lora_first.add_patches(patch)
        first, _ = apply_state(Checkpoint(lora_first, studio.clip), dog_state, 1.0)
        applied, _ = apply_state(studio.checkpoint, dog_state, 1.0)
        second = applied.clone()
        second.add_patches(patch)
    results = []
    for model in (first, second):
        load([model])
        results.append(studio.weights()[f"unet.{key}"])
    assert torch.allclose(results[0], results[1], atol=1e-7)
    both = expected_weights_with(before, dog_state, key, 0.25)
    assert torch.allclose(results[0], both, atol=1e-6)
    load([studio.model])
    assert same(studio.weights(), before)


def expected_weights_with(before, state, key: str, size: float) -> torch.Tensor:
    weight = before[f"unet.{key}"].clone() + size
    for layer, positions, values in state.delta.layers():
        if weight_key(layer.name) == key:
            weight.view(-1)[positions] += values
    return weight


def test_two_branches_of_one_graph(studio, dog_state, two_state):
    """Plain, first state, second state, in any order: each load shows its own weights."""
    load([studio.model])
    with torch.inference_mode():
        branches = [
            (studio.model, expected_weights(studio, two_state, 0.0)),
            (apply_state(studio.checkpoint, dog_state, 1.0)[0], expected_weights(studio, dog_state, 1.0)),
            (apply_state(studio.checkpoint, two_state, 1.0)[0], expected_weights(studio, two_state, 1.0)),
        ]
    for index in (0, 1, 2, 1, 0, 2, 0):
        model, expected = branches[index]
        load([model])
        assert same(studio.weights(), expected), index


def test_applying_twice_is_refused(studio, dog_state, two_state):
    with torch.inference_mode():
        model, clip = apply_state(studio.checkpoint, dog_state, 1.0)
        with pytest.raises(CNSError, match="MODEL wired in already carries a CNS state"):
            apply_state(Checkpoint(model, studio.clip), two_state, 1.0)
        with pytest.raises(CNSError, match="CLIP wired in already knows <new1>"):
            apply_state(Checkpoint(studio.model, clip), two_state, 1.0)


def test_state_of_another_checkpoint_is_refused_with_both_fingerprints(studio, dog_state):
    other = tiny_model(seed=9)
    here, wanted = Checkpoint(other, studio.clip).fingerprint.kv.short, dog_state.fingerprint.kv.short
    with torch.inference_mode(), pytest.raises(CNSError, match=f"fingerprint .*{wanted}.*fingerprint .*{here}"):
        apply_state(Checkpoint(other, studio.clip), dog_state, 1.0)


def test_clip_knows_the_tokens(studio, two_state):
    with torch.inference_mode():
        _, clip = apply_state(studio.checkpoint, two_state, 1.0)
    ids = [entry[0] for entry in clip.tokenize("a <new1> dog with a (<new2>:1.2) hat")["l"][0]]
    vectors = [entry for entry in ids if torch.is_tensor(entry)]
    assert [torch.equal(v, c.vectors[0]) for v, c in zip(vectors, two_state.concepts, strict=True)] == [True, True]
