"""The keep term against its definition, written out with loops over prompts and layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cns_pack.cns_core.kv_layers import KVLayout
from cns_pack.cns_core.masks import NeuronMask
from cns_pack.cns_core.sparse_delta import SparseDelta
from cns_pack.cns_core.training.keep_term import Held, KeepTerm, Row, held_moment
from cns_pack.cns_core.training.trainable_kv import TrainableKV

SHAPES = {"a.attn2.to_k": (3, 8), "a.attn2.to_v": (5, 8)}
LAYOUT = KVLayout.from_shapes(SHAPES)
ROWS = torch.tensor([Row.START, Row.WORD, Row.OWN, Row.PADDING, Row.PADDING])


def trainable(seed: int = 0) -> TrainableKV:
    """17 of the weights, moved already by an earlier concept and by this one."""
    generator = torch.Generator().manual_seed(seed)
    weights = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    selected = np.zeros(LAYOUT.size, dtype=bool)
    selected[torch.randperm(LAYOUT.size, generator=generator)[:17].numpy()] = True
    mask = NeuronMask.from_flat(LAYOUT, selected)
    previous = SparseDelta(mask, torch.randn(17, generator=generator))
    kv = TrainableKV(weights, mask, previous, torch.device("cpu"))
    with torch.no_grad():
        kv.delta += 0.1 * torch.randn(17, generator=generator)
    return kv


def prompts(seed: int, count: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(5, 8, generator=generator) for _ in range(count)]


def moved(kv: TrainableKV, delta: torch.Tensor, sets: list[list[torch.Tensor]]) -> list[torch.Tensor]:
    """``R`` of each set of prompts, from what each row of text features moves each K or V by."""
    row_weights = torch.tensor([1 / 4, 1 / 6, 1 / 3, 1 / 8, 1 / 8])  # the own token counts twice among the words

    def mean_square(matrix: torch.Tensor, contexts: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([((context @ matrix.T).square().sum(1) * row_weights).sum() for context in contexts]).mean()

    dense = torch.zeros(LAYOUT.size).index_put((kv.indices,), delta - kv.previous)
    shares = [[] for _ in sets]
    for layer in LAYOUT.layers:
        difference = dense[layer.span].view(layer.out_features, 8)
        weight = kv.projections[layer.name].weight.detach()
        size = torch.stack([mean_square(weight, contexts) for contexts in sets]).mean()
        for share, contexts in zip(shares, sets, strict=True):
            share.append(mean_square(difference, contexts) / size)
    return [torch.stack(share).mean() for share in shares]


def test_moment_of_a_worked_example():
    # start (1, 0), word (0, 2), own token (2, 0), end (0, 4):
    # first entry 1/4 · 1 + 1/2 · 2/3 · 4, last 1/2 · 1/3 · 4 + 1/4 · 16; no row has both features
    context = torch.tensor([[1.0, 0.0], [0.0, 2.0], [2.0, 0.0], [0.0, 4.0]])
    moment = held_moment([context], [torch.tensor([Row.START, Row.WORD, Row.OWN, Row.PADDING])])
    torch.testing.assert_close(moment, torch.tensor([[1 / 4 + 4 / 3, 0.0], [0.0, 2 / 3 + 4.0]]))


def test_value_gradient_and_measure_equal_the_definition():
    kv, sets, tolerances = trainable(), [prompts(1), prompts(2)], (0.1, 0.3)
    term = KeepTerm(kv, [Held("", held_moment(one, [ROWS] * 4), by) for one, by in zip(sets, tolerances, strict=True)])
    term.after_step(torch.tensor(2.5))  # the mean task loss
    value = term()
    (gradient,) = torch.autograd.grad(value, kv.delta)

    delta = kv.delta.detach().clone().requires_grad_()
    shares = moved(kv, delta, sets)
    expected = 2.5 * sum(0.1 * share / by**2 for share, by in zip(shares, tolerances, strict=True))
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, delta)[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(term.measure(), torch.stack(shares).detach().sqrt(), rtol=1e-5, atol=0)


def test_a_rescaled_model_moves_by_the_same_share():
    """K and V times 3, text features divided by 3: the same function, and the same shares."""
    measured = []
    for factor in (1.0, 3.0):
        kv = trainable()
        weights = {name: factor * projection.weight.detach() for name, projection in kv.projections.items()}
        selected = np.zeros(LAYOUT.size, dtype=bool)
        selected[kv.indices.numpy()] = True
        scaled = TrainableKV(weights, NeuronMask.from_flat(LAYOUT, selected), SparseDelta.zero(LAYOUT), torch.device("cpu"))
        with torch.no_grad():
            scaled.delta += factor * (kv.delta - kv.previous)
        contexts = [context / factor for context in prompts(1)]
        measured.append(KeepTerm(scaled, [Held("", held_moment(contexts, [ROWS] * 4), 0.1)]).measure())
    torch.testing.assert_close(*measured)


@pytest.mark.parametrize(("tolerance", "factor"), [(0.001, 0.5), (100.0, -0.5)])
def test_the_multiplier_grows_where_too_much_moved_and_shrinks_elsewhere(tolerance, factor):
    term = KeepTerm(kv := trainable(), [Held("", held_moment(prompts(1), [ROWS] * 4), tolerance)])
    for _ in range(9):
        term.after_step(torch.ones(()))
    before = term()
    term.after_step(torch.ones(()))
    torch.testing.assert_close((term() / before).log(), torch.tensor(factor), rtol=1e-4, atol=0)
    assert kv.delta.grad is None


def test_share_of_the_change_that_stays_within_the_tolerance():
    kv = trainable()
    near, far = (held_moment(prompts(seed), [ROWS] * 4) for seed in (1, 2))
    term = KeepTerm(kv, [Held("", near, 0.01), Held("", far, 9.0)])
    before = term.measure().clone()
    share = term.kept_share()
    assert share == pytest.approx(0.01 / before[0].item())
    with torch.no_grad():
        kv.delta.copy_(torch.lerp(kv.previous, kv.delta, share))
    torch.testing.assert_close(term.measure(), before * share)
    assert term.moved[0].item() == pytest.approx(0.01)


def test_what_is_near_its_tolerance_stays():
    kv = trainable()
    moment = held_moment(prompts(1), [ROWS] * 4)
    near = KeepTerm(kv, [Held("", moment, 1.0)]).measure().item() / 1.05
    assert KeepTerm(kv, [Held("", moment, near)]).kept_share() == 1.0
