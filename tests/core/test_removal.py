"""A concept taken out of a state, on matrices whose solution can be worked out by hand, and against dense least squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cns_pack.cns_core.fingerprint import Fingerprint, Projections
from cns_pack.cns_core.history import recorded, with_strengths
from cns_pack.cns_core.kv_layers import KVLayout
from cns_pack.cns_core.masks import NeuronMask
from cns_pack.cns_core.removal import Moments, moved, remove_concept
from cns_pack.cns_core.state import CNSState, LearnedConcept

TWO = KVLayout.from_shapes({"x.attn2.to_k": (1, 2)})


def state_of(layout: KVLayout, masks: list[np.ndarray], values: list[torch.Tensor]) -> CNSState:
    state = CNSState.empty(layout, Fingerprint(Projections((0.25,), 2**-10)))
    for number, (mask, value) in enumerate(zip(masks, values, strict=True), start=1):
        vectors = torch.ones(1, layout.in_features)
        concept = LearnedConcept(f"<new{number}>", "dog", NeuronMask.from_flat(layout, mask), vectors, ("a dog",))
        state = state.with_concept(concept, value)
    return state


def two_on(first: list[bool], second: list[bool]) -> CNSState:
    """Two concepts on a 1 x 2 matrix: the first makes its weights 4, the second its own 6."""
    masks = [np.array(first), np.array(second)]
    return state_of(TWO, masks, [torch.full((int(mask.sum()),), value) for mask, value in zip(masks, (4.0, 6.0), strict=True)])


def moments(own: list[float], other: list[float], ordinary: tuple[float, float] = (0.0, 0.0)) -> Moments:
    """Of features that do not go together: diagonal matrices."""
    return Moments(*(torch.diag(torch.tensor(own)), [torch.diag(torch.tensor(other))], torch.diag(torch.tensor(ordinary))))


def test_the_last_one_is_taken_back_exactly_whatever_the_prompts(tmp_path):
    state = two_on([True, True], [False, True])
    without = remove_concept(state, 1, moments([0.0, 0.0], [1.0, 1.0]))
    assert without.delta.flat().tolist() == [4.0, 4.0]
    assert [concept.token for concept in without.concepts] == ["<new1>"]


def test_weights_of_its_own_go_home_exactly_and_leave_the_state():
    without = remove_concept(two_on([True, False], [False, True]), 0, moments([1.0, 1.0], [1.0, 1.0]))
    assert without.delta.flat().tolist() == [0.0, 6.0]
    assert without.delta.mask.count == 1


@pytest.mark.parametrize(
    ("own", "other", "flat"),
    [
        ([1.0, 0.0], [0.0, 1.0], [0.0, 6.0]),  # the first feature is read by its prompts, the second by the other's
        ([0.0, 1.0], [1.0, 0.0], [6.0, 0.0]),
        ([1.0, 1.0], [1.0, 1.0], [3.0, 3.0]),  # both are read by both: half of the way
        ([3.0, 1.0], [1.0, 3.0], [1.5, 4.5]),
        ([0.0, 0.0], [1.0, 1.0], [6.0, 6.0]),
    ],
)
def test_shared_weights_go_to_the_balance_of_its_prompts_and_the_others(own, other, flat):
    without = remove_concept(two_on([True, True], [True, True]), 0, moments(own, other))
    assert without.delta.flat().tolist() == pytest.approx(flat, abs=1e-2)


def test_ordinary_prompts_hold_too():
    without = remove_concept(two_on([True, True], [True, True]), 0, moments([1.0, 1.0], [0.0, 0.0], (2.0, 0.0)))
    assert without.delta.flat().tolist() == pytest.approx([4.0, 0.0], abs=1e-2)


def random_case(share: float, seed: int = 0):
    layout = KVLayout.from_shapes({"x.attn2.to_k": (7, 12), "x.attn2.to_v": (5, 12)})
    chance = np.random.default_rng(seed)
    masks = [chance.random(layout.size) < share for _ in range(3)]
    values = [torch.from_numpy(chance.standard_normal(int(mask.sum())).astype(np.float32)) for mask in masks]
    features = [torch.from_numpy(chance.standard_normal((20, 12)).astype(np.float32)) for _ in range(4)]
    squares = [f.T @ f / len(f) for f in features]
    return state_of(layout, masks, values), Moments(squares[0], squares[1:3], squares[3]), features


@pytest.mark.parametrize("share", [0.3, 0.8, 1.0])
def test_solution_is_that_of_dense_least_squares(share):
    """Row by row: the stacked features times the change of the free weights, against what they should change."""
    state, of_prompts, features = random_case(share)
    without = remove_concept(state, 1, of_prompts)
    before, after = state.delta.flat().view(-1, 12).double(), without.delta.flat().view(-1, 12).double()
    removed, first, last = (torch.from_numpy(state.concepts[i].mask.flat()).view(-1, 12) for i in (1, 0, 2))
    rest = first | last
    assert torch.equal(after[removed & ~rest], torch.zeros(int((removed & ~rest).sum()), dtype=torch.float64))
    assert torch.equal(after[~removed], before[~removed])
    own, *held = (f.double() / len(f) ** 0.5 for f in features)
    for row in range(len(before)):
        free = removed[row] & rest[row]
        fixed = torch.where(removed[row] & ~rest[row], -before[row], 0.0)
        rows = torch.cat([*(f[:, free] for f in held), own[:, free]])
        wanted = torch.cat([*(-f @ fixed for f in held), -own @ (before[row] + fixed)])
        best = torch.linalg.lstsq(rows, wanted.unsqueeze(1)).solution.squeeze(1)
        assert torch.allclose(after[row][free] - before[row][free], best, atol=5e-3)


def test_history_goes_on_without_it():
    state, of_prompts, _ = random_case(0.5)
    without = remove_concept(state, 1, of_prompts)
    assert recorded(without) == [True, True]
    assert torch.equal(without.concepts[0].before, state.concepts[0].before)
    muted = with_strengths(without, {"<new3>": 0.0})
    first_alone = torch.from_numpy(state.concepts[0].mask.without(without.concepts[1].mask).flat())
    assert torch.equal(muted.delta.flat()[first_alone], without.delta.flat()[first_alone])
    both = torch.from_numpy((state.concepts[0].mask & without.concepts[1].mask).flat())
    taught_first = random_first(state)
    assert torch.allclose(muted.delta.flat()[both], taught_first[both], atol=1e-6)
    assert recorded(remove_concept(state.without_history(), 1, of_prompts)) == [True, False]


def random_first(state: CNSState) -> torch.Tensor:
    """The flat delta after the first concept alone."""
    return with_strengths(state, {"<new2>": 0.0, "<new3>": 0.0}).delta.flat()


def test_moved_is_the_share_of_k_and_v():
    """One matrix moves by a tenth, the other not at all: the mean of 0.01 and 0 is 0.005."""
    weights = {"k": torch.tensor([[1.0, 0.0], [0.0, 1.0]]), "v": torch.tensor([[2.0, 0.0]])}
    change = torch.tensor([0.1, 0.0, 0.0, 0.1, 0.0, 0.0])
    assert moved(change, weights, torch.diag(torch.tensor([1.0, 2.0]))) == pytest.approx(0.005**0.5)
