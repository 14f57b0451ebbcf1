"""How far a concept has moved since it was taught: an upper bound, or nothing where somebody did not measure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cns_pack.cns_core.drift import drift, with_removal
from cns_pack.cns_core.fingerprint import Fingerprint, Projections
from cns_pack.cns_core.kv_layers import KVLayout
from cns_pack.cns_core.masks import NeuronMask
from cns_pack.cns_core.sparse_delta import SparseDelta
from cns_pack.cns_core.state import CNSState, LearnedConcept

LAYOUT = KVLayout.from_shapes({"x.attn2.to_k": (2, 2)})
A, B, C, D = "<a> dog", "<b> dog", "<c> dog", "<d> dog"


def taught(**moved: dict[str, float]) -> CNSState:
    """Concepts by the letter of their token, and by what shares their trainings moved earlier ones."""
    mask = NeuronMask.from_flat(LAYOUT, np.ones(LAYOUT.size, dtype=bool))
    concepts = tuple(
        LearnedConcept(f"<{token}>", "dog", mask, torch.ones(1, 2), ("a",), {}, {"moved": shares})
        for token, shares in moved.items()
    )
    return CNSState(LAYOUT, Fingerprint(Projections((1.0,), 0.1)), SparseDelta.zero(LAYOUT), concepts)


def without(state: CNSState, index: int, moved: list[float]) -> CNSState:
    rest = state.concepts[:index] + state.concepts[index + 1 :]
    left = CNSState(state.layout, state.fingerprint, state.delta, rest)
    return with_removal(left, state.concepts[index], index, moved)


def test_the_sum_of_what_later_trainings_moved():
    assert drift(taught(a={}, b={A: 0.01}, c={A: 0.02, B: 0.005})) == {"<a>": pytest.approx(0.03), "<b>": 0.005}


def test_a_training_that_held_nothing_leaves_no_bound():
    assert drift(taught(a={}, b={}, c={A: 0.02, B: 0.005})) == {"<b>": 0.005}


def test_removals_count_and_what_was_removed_still_does():
    state = taught(a={}, b={A: 0.01}, c={A: 0.02, B: 0.005}, d={A: 0.03, B: 0.04, C: 0.05})
    once = without(state, 1, [0.1, 0.2, 0.3])
    assert drift(once) == {"<a>": pytest.approx(0.16), "<c>": pytest.approx(0.25), "<d>": 0.3}
    twice = without(once, 2, [0.5, 0.6])
    assert drift(twice) == {"<a>": pytest.approx(0.16 + 0.5), "<c>": pytest.approx(0.25 + 0.6)}


def test_a_removed_training_that_held_nothing_leaves_no_bound():
    assert drift(without(taught(a={}, b={}, c={A: 0.02, B: 0.01}), 1, [0.1, 0.2])) == {"<c>": 0.2}
