"""Taking one concept out of a state without its pictures, from the text features of prompts.

K and V are linear in the text features, so that what a change of a weight W does to all tokens of some prompts is a quadratic
form in one small matrix, the second moment ``A`` of their features. Weights that only the removed concept trained go back to
the checkpoint, exactly. Those it shares with others move to the minimum of ::

    Σ_others ‖(W' − W) C_c‖² + ‖(W' − W) C_ordinary‖² + ‖(W' − W_0) C_own‖² + ρ ‖W' − W‖²

over the shared weights: what the others' prompts and ordinary ones read stays, and what its own read becomes the checkpoint's.
It is the closed form of UCE (Gandikota et al., WACV 2024) on a sparse set of weights, in each output row a system of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .drift import undoable
from .history import before_last, recorded, steps_back
from .masks import NeuronMask
from .selection import union
from .sparse_delta import SparseDelta
from .state import CNSState, LearnedConcept

_RIDGE = 1e-4  # ρ, as a share of the mean of the moments' diagonals
_NUMBERS_AT_A_TIME = 2**24  # of the systems that are solved together: 128 MB


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments of text features, float32 (features, features) each, of the prompts of the concept that is removed, of
    each other concept, and of ordinary prompts, see :func:`.training.keep_term.held_moment`.
    """

    own: Tensor
    others: Sequence[Tensor]
    ordinary: Tensor


def remove_concept(state: CNSState, index: int, moments: Moments) -> CNSState:
    """The state without its concept number ``index``; exactly the one before it where it is :func:`.drift.undoable`."""
    if undoable(state, index):
        return before_last(state)
    removed, rest = state.concepts[index], state.concepts[:index] + state.concepts[index + 1 :]
    remaining = union(concept.mask for concept in rest) or NeuronMask.empty(state.layout)
    delta = SparseDelta(remaining, _without(state, removed.mask, remaining, moments)[remaining.indices])
    return replace(state, delta=delta, concepts=_concepts_after(state, index))


def _without(state: CNSState, removed: NeuronMask, remaining: NeuronMask, moments: Moments) -> Tensor:
    """The new delta, float32 (layout.size,)."""
    held = torch.stack([*moments.others, moments.ordinary]).cpu().double().sum(0)
    own = moments.own.cpu().double()
    system = held + own
    system += _RIDGE * system.diagonal().mean() * torch.eye(len(system), dtype=system.dtype)
    before = state.delta.flat()
    after = before.clone()
    after[removed.without(remaining).indices] = 0.0
    shared = torch.from_numpy((removed & remaining).flat())
    for layer in state.layout.layers:
        free = shared[layer.span].view(layer.out_features, -1)
        start, home = (flat[layer.span].view(layer.out_features, -1).double() for flat in (before, after))
        slope = (home - start) @ held + home @ own  # of the sum above at ``home``, halved
        after[layer.span] += _solved(system, -slope, free).float().view(-1)
    return after


def _solved(system: Tensor, right: Tensor, free: Tensor) -> Tensor:
    """In each row the solution z of ``system_FF z_F = right_F`` over the free columns F, and 0 elsewhere.

    ``system`` (features, features), positive definite; ``right`` and boolean ``free`` (rows, features); float64.
    """
    if bool(free.all()):
        return torch.cholesky_solve(right.T, torch.linalg.cholesky(system)).T
    solved, counts = torch.zeros_like(right), free.sum(1)
    order = counts.argsort(descending=True)
    while len(order) and (width := int(counts[order[0]])):
        rows, order = order.tensor_split([max(1, _NUMBERS_AT_A_TIME // width**2)])
        columns = free[rows].int().topk(width).indices  # the free ones first, then others to fill up
        valid = free[rows].gather(1, columns)
        both = valid.unsqueeze(2) & valid.unsqueeze(1)
        systems = torch.where(both, system[columns.unsqueeze(2), columns.unsqueeze(1)], 0.0)
        systems.diagonal(dim1=1, dim2=2)[~valid] = 1.0
        wanted = torch.where(valid, right[rows].gather(1, columns), 0.0)
        values = torch.cholesky_solve(wanted.unsqueeze(2), torch.linalg.cholesky(systems)).squeeze(2)
        solved[rows] = solved[rows].scatter(1, columns, values)
    return solved


def _concepts_after(state: CNSState, index: int) -> tuple[LearnedConcept, ...]:
    """The remaining concepts with a history without the removed one's changes; what stays of them at a shared weight counts
    as the change of the last concept that trained it.
    """
    before, after = state.concepts[:index], state.concepts[index + 1 :]
    if not all(recorded(state)):
        return before + tuple(replace(concept, before=None) for concept in after)
    changes = {concept.token: taught - earlier for concept, taught, earlier in steps_back(state)}
    total, earlier, kept = torch.zeros(state.layout.size), NeuronMask.empty(state.layout), []
    for concept in before + after:
        found = concept.before if concept in before else total[(concept.mask & earlier).indices]
        kept.append(replace(concept, before=found))
        total[concept.mask.indices] += changes[concept.token]
        earlier = earlier | concept.mask
    return tuple(kept)


def moved(change: Tensor, weights: Mapping[str, Tensor], moment: Tensor) -> float:
    """By what share of their size K and V of the moment's prompts differ where the weights (out, in) by name change by
    ``change``, float (sum of their sizes,): the root of the mean over the weights W of ``tr(D A Dᵀ) / tr(W A Wᵀ)``.
    """
    shares, offset = [], 0
    for weight in weights.values():
        difference = change[offset : offset + weight.numel()].view(weight.shape)
        shares.append(_energy(difference, moment) / _energy(weight, moment))
        offset += weight.numel()
    return float(torch.stack(shares).mean().sqrt())


def _energy(weight: Tensor, moment: Tensor) -> Tensor:
    weight, moment = weight.cpu().double(), moment.cpu().double()  # Apple's GPUs have no float64
    return ((weight @ moment) * weight).sum()
