"""How far a concept has moved since it was taught: an upper bound, or nothing where somebody did not measure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from cns_pack.cns_core.drift import changes_since_taught, drift, measured, undoable, with_removal
from cns_pack.cns_core.fingerprint import Fingerprint, Projections
from cns_pack.cns_core.history import before_last
from cns_pack.cns_core.kv_layers import KVLayout
from cns_pack.cns_core.masks import NeuronMask
from cns_pack.cns_core.sparse_delta import SparseDelta
from cns_pack.cns_core.state import CNSState, LearnedConcept

LAYOUT = KVLayout.from_shapes({"x.attn2.to_k": (2, 2)})
A, B, C, D = "<a> dog", "<b> dog", "<c> dog", "<d> dog"


def taught(**off: dict[str, float]) -> CNSState:
    """Concepts by the letter of their token, and how far earlier ones were after their training."""
    mask = NeuronMask.from_flat(LAYOUT, np.ones(LAYOUT.size, dtype=bool))
    state = CNSState(LAYOUT, Fingerprint(Projections((1.0,), 0.1)), SparseDelta.zero(LAYOUT))
    for number, (token, shares) in enumerate(off.items(), start=1):
        concept = LearnedConcept(f"<{token}>", "dog", mask, torch.ones(1, 2), ("a",), {}, {"off": shares})
        state = state.with_concept(concept, torch.full((LAYOUT.size,), 10.0**number))
    return state


def without(state: CNSState, index: int, moved: list[float]) -> CNSState:
    rest = state.concepts[:index] + state.concepts[index + 1 :]
    return with_removal(replace(state.without_history(), concepts=rest), state, moved)


def test_what_the_last_training_measured():
    assert drift(taught(a={}, b={A: 0.01}, c={A: 0.02, B: 0.005})) == {"<a>": 0.02, "<b>": 0.005}


def test_nothing_where_the_last_training_held_nothing():
    assert drift(taught(a={}, b={A: 0.01}, c={B: 0.005}, d={})) == {}
    assert drift(taught(a={}, b={}, c={A: 0.02, B: 0.005})) == {"<a>": 0.02, "<b>": 0.005}


def test_removals_are_added():
    state = taught(a={}, b={A: 0.01}, c={A: 0.02, B: 0.005}, d={A: 0.03, B: 0.04, C: 0.05})
    once = without(state, 1, [0.1, 0.2, 0.3])
    assert drift(once) == {"<a>": pytest.approx(0.13), "<c>": pytest.approx(0.25), "<d>": 0.3}
    twice = without(once, 2, [0.5, 0.6])
    assert drift(twice) == {"<a>": pytest.approx(0.13 + 0.5), "<c>": pytest.approx(0.25 + 0.6)}
    later = LearnedConcept("<e>", "dog", state.concepts[0].mask, torch.ones(1, 2), ("a",), {}, {"off": {A: 0.01, C: 0.02}})
    assert drift(replace(twice, concepts=(*twice.concepts, later))) == {
        "<a>": pytest.approx(0.64),
        "<c>": pytest.approx(0.87),
    }


def test_a_removal_where_the_last_training_held_nothing_leaves_no_bound():
    assert drift(without(taught(a={}, b={}, c={B: 0.01}), 1, [0.1, 0.2])) == {"<c>": 0.2}


def test_what_changed_since_each_was_taught():
    state = taught(a={}, b={}, c={})
    changes = {concept.token: change.tolist() for concept, change in changes_since_taught(state)}
    assert changes == {"<c>": [0.0] * 4, "<b>": [900.0] * 4, "<a>": [990.0] * 4}
    assert measured(state) == [True] * 3


def test_what_changed_is_measured_from_a_removal_on():
    """The concept that was removed was the second of three; two more are taught."""
    rest = with_removal(without_middle(taught(a={}, b={}, c={})), taught(a={}, b={}, c={}), [0.0, 0.0])
    changes = {concept.token: change.tolist() for concept, change in changes_since_taught(two_more(rest))}
    assert changes == {"<e>": [0.0] * 4, "<d>": [4.0] * 4, "<c>": [7.0] * 4, "<a>": [7.0] * 4}


def test_only_the_last_one_is_undoable_and_not_where_another_was_removed_since():
    before = taught(a={}, b={}, c={})
    assert [undoable(before, index) for index in range(3)] == [False, False, True]
    rest = with_removal(without_middle(before), before, [0.0, 0.0])
    assert [undoable(rest, index) for index in range(2)] == [False, False]
    more = two_more(rest)
    assert [undoable(more, index) for index in range(4)] == [False, False, False, True]
    assert undoable(before_last(more), 2)
    assert not undoable(before_last(before_last(more)), 1)


def without_middle(state: CNSState) -> CNSState:
    """As a removal leaves it, with the history of what remains."""
    first, _, last = state.concepts
    return replace(state, concepts=(first, replace(last, before=torch.full((4,), 10.0))))


def two_more(state: CNSState) -> CNSState:
    start = state.delta.flat()
    for token, more in (("d", 3.0), ("e", 7.0)):
        concept = LearnedConcept(f"<{token}>", "dog", state.concepts[0].mask, torch.ones(1, 2), ("a",))
        state = state.with_concept(concept, start + more)
    return state


def test_concepts_taught_before_an_unrecorded_one_are_not_measured():
    first, second, third = taught(a={}, b={}, c={}).concepts
    state = replace(taught(a={}, b={}, c={}), concepts=(first, replace(second, before=None), third))
    assert measured(state) == [False, True, True]
    assert [concept.token for concept, _ in changes_since_taught(state)] == ["<c>", "<b>"]
