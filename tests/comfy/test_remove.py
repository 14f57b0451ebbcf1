"""A concept taken out of a state on ComfyUI's own model classes: what is left of it, what it costs, teaching it again."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch
from cns_pack.cns_core.comfy_adapter import remove as remove_module
from cns_pack.cns_core.comfy_adapter.apply.apply import apply_state
from cns_pack.cns_core.comfy_adapter.remove import remove
from cns_pack.cns_core.drift import MEASURED_FROM
from cns_pack.cns_core.errors import CNSError

from tests.comfy.conftest import concept_of
from tests.support.loading import expected_weights, load, same
from tests.support.tiny_models import tiny_model

logger = logging.getLogger(__name__)


def removed(studio, state, token: str, ordinary: list[str] | None = None):
    with torch.inference_mode():
        return remove(studio.checkpoint, state, token, ordinary or [], None)


@pytest.fixture(scope="module")
def full_state(studio, dog, hat):
    """Both concepts train every K/V weight, far enough to be seen."""
    settings = {"neuron_lr": 3e-3, "steps": 20, "keep_tolerance": 0.0}
    dogs = studio.teach(dog, neurons=studio.neurons(dog, "all K/V"), **settings)[0]
    return studio.teach(hat, previous=dogs, neurons=studio.neurons(hat, "all K/V"), **settings)[0]


def share(line: str) -> float:
    """The first percentage in a line."""
    return float(line.split("%")[0].split()[-1]) / 100


def test_the_last_one_is_taken_back_to_the_bit(studio, dog_state, two_state):
    state, lines = removed(studio, two_state, "<NEW2>")
    assert lines[0].startswith("`<new2> hat` removed, exactly as before it was taught: ")
    assert torch.equal(state.delta.values, dog_state.delta.values)
    assert state.delta.mask.equals(dog_state.delta.mask)
    assert [concept.token for concept in state.concepts] == ["<new1>"]


def test_an_earlier_one_goes_and_the_others_stay(studio, full_state):
    """Against leaving its weights, and against putting all its weights back."""
    state, lines = removed(studio, full_state, "<new1>")
    logger.info("%s", lines)
    left, before, others = share(lines[0]), share(lines[0].partition("(")[2]), share(lines[1])
    ordinary, ordinary_before = share(lines[2]), share(lines[2].partition("(")[2])
    assert lines[1].startswith("K and V of `<new2> hat` moved")
    assert left < 0.7 * before
    assert others < 0.3 * before
    assert ordinary < ordinary_before
    assert [concept.token for concept in state.concepts] == ["<new2>"]


def test_weights_of_its_own_are_the_checkpoints_again(studio, two_state):
    state, _ = removed(studio, two_state, "<new1>")
    first, second = (concept.mask for concept in two_state.concepts)
    load([studio.model])
    plain = studio.weights()
    with torch.inference_mode():
        model, clip = apply_state(studio.checkpoint, state, 1.0)
    load([model])
    found = studio.weights()
    load([studio.model])
    assert same(found, expected_weights(studio, state, 1.0))
    assert not state.delta.flat()[first.without(second).indices].any()
    assert torch.equal(state.delta.at(second.without(first)), two_state.delta.at(second.without(first)))
    assert not same(found, plain)
    assert "<new1>" not in clip.tokenizer.cns_tokens


def test_the_last_one_after_another_removal_is_not_taken_back_exactly(studio, two_state):
    """It was taught while the other was still there; and from here on the rest is measured against this removal."""
    three = studio.teach(concept_of("<new3>", "cat", 7), previous=two_state)[0]
    state, lines = removed(studio, removed(studio, three, "<new1>")[0], "<new3>")
    assert lines[0].startswith("`<new3> cat` removed: ")
    (hat,) = state.concepts
    assert hat.figures[MEASURED_FROM][0] == 1


def test_a_lora_on_the_way_changes_nothing(studio, full_state):
    text = studio.clip.clone()
    name, weight = next((n, w) for n, w in text.patcher.model.named_parameters() if n.endswith("mlp.fc1.weight"))
    with torch.inference_mode():
        assert text.patcher.add_patches({name: ("diff", (torch.ones_like(weight),))})
        found = remove(replace(studio.checkpoint, clip=text), full_state, "<new1>", [], None)
    state, lines = removed(studio, full_state, "<new1>")
    assert torch.equal(found[0].delta.values, state.delta.values)
    assert found[1] == lines
    assert text.patcher.patches


def test_same_token_is_taught_again(studio, dog, two_state):
    with pytest.raises(CNSError, match="To teach <new1> again, take it out with Remove CNS Concept first"):
        studio.teach(dog, previous=two_state)
    again = studio.teach(dog, previous=removed(studio, two_state, "<new1>")[0])[0]
    assert [concept.token for concept in again.concepts] == ["<new2>", "<new1>"]
    moved = again.delta.at(again.concepts[1].mask) != 0
    assert moved.float().mean() > 0.95


def test_all_concepts_one_by_one_leave_the_checkpoint(studio, two_state):
    first, _ = removed(studio, two_state, "<new1>")
    none, lines = removed(studio, first, "<new2>")
    assert none.concepts == ()
    assert none.delta.mask.count == 0
    assert "differ from the checkpoint's by 0.0%" in lines[0]


def test_ordinary_prompts_that_would_move_are_refused(studio, full_state, monkeypatch):
    monkeypatch.setattr(remove_module, "MOST_ADDED", -1.0)
    with pytest.raises(
        CNSError, match=r"Without <new1> dog, K and V of ordinary prompts would differ from the checkpoint's by \d"
    ):
        removed(studio, full_state, "<new1>")


def test_mistakes(studio, two_state):
    with pytest.raises(CNSError, match="no token '<new3>': its tokens are <new1>, <new2>"):
        removed(studio, two_state, "<new3>")
    with pytest.raises(CNSError, match="ordinary_prompts needs at least two lines"):
        removed(studio, two_state, "<new1>", ["a house"])
    other = type(studio)(tiny_model(seed=9), studio.clip)
    with pytest.raises(CNSError, match=r"The state was made for the checkpoint with fingerprint \w+"):
        removed(other, two_state, "<new1>")
