"""The keep term against its definition, written out with loops over prompts and layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cns_pack.cns_core.kv_layers import KVLayout
from cns_pack.cns_core.masks import NeuronMask
from cns_pack.cns_core.sparse_delta import SparseDelta
from cns_pack.cns_core.training.keep_term import Held, KeepTerm, Row, bytes_of, factor_of, held_moment
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


def held(
    sets: list[list[torch.Tensor]], tolerances: tuple[float, ...], changes: list[torch.Tensor] | None = None
) -> list[Held]:
    """``changes``: of all weights, since the prompts' K and V were where they are held."""
    changes = changes or [torch.zeros(LAYOUT.size) for _ in sets]
    moments = [held_moment(contexts, [ROWS] * len(contexts)) for contexts in sets]
    return [Held.of("", *each) for each in zip(moments, tolerances, changes, strict=True)]


def changes(seed: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(LAYOUT.size, generator=torch.Generator().manual_seed(seed))


def moved(
    kv: TrainableKV, delta: torch.Tensor, sets: list[list[torch.Tensor]], earlier: list[torch.Tensor] | None = None
) -> list[torch.Tensor]:
    """``R`` of each set of prompts, from what each row of text features moves each K or V by, and what earlier ones did."""
    row_weights = torch.tensor([1 / 4, 1 / 6, 1 / 3, 1 / 8, 1 / 8])  # the own token counts twice among the words

    def mean_square(matrix: torch.Tensor, contexts: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([((context @ matrix.T).square().sum(1) * row_weights).sum() for context in contexts]).mean()

    dense = torch.zeros(LAYOUT.size).index_put((kv.indices,), delta - kv.previous)
    shares = [[] for _ in sets]
    for layer in LAYOUT.layers:
        weight = kv.projections[layer.name].weight.detach()
        size = torch.stack([mean_square(weight, contexts) for contexts in sets]).mean()
        for share, contexts, change in zip(shares, sets, earlier or [torch.zeros(LAYOUT.size)] * len(sets), strict=True):
            difference = (dense + change)[layer.span].view(layer.out_features, 8)
            share.append(mean_square(difference, contexts) / size)
    return [torch.stack(share).mean() for share in shares]


def test_moment_of_a_worked_example():
    # start (1, 0), word (0, 2), own token (2, 0), end (0, 4):
    # first entry 1/4 · 1 + 1/2 · 2/3 · 4, last 1/2 · 1/3 · 4 + 1/4 · 16; no row has both features
    context = torch.tensor([[1.0, 0.0], [0.0, 2.0], [2.0, 0.0], [0.0, 4.0]])
    moment = held_moment([context], [torch.tensor([Row.START, Row.WORD, Row.OWN, Row.PADDING])])
    torch.testing.assert_close(moment, torch.tensor([[1 / 4 + 4 / 3, 0.0], [0.0, 2 / 3 + 4.0]]))


@pytest.mark.parametrize(("scale", "rounding"), [(0.0, 1e-5), (1.0, 1e-2)])
def test_value_gradient_and_measure_equal_the_definition(scale, rounding):
    """Without earlier trainings, and with them: what those did is kept in 16 bits."""
    kv, sets, tolerances = trainable(), [prompts(1), prompts(2)], (1.0, 2.0)
    earlier = [changes(3, 0.1 * scale), changes(4, 0.2 * scale)]
    term = KeepTerm(kv, held(sets, tolerances, earlier))
    term.after_step(torch.tensor(2.5))  # the mean task loss
    value = term()
    (gradient,) = torch.autograd.grad(value, kv.delta)

    delta = kv.delta.detach().clone().requires_grad_()
    shares = moved(kv, delta, sets, earlier)
    expected = 2.5 * sum(0.1 * share / by**2 for share, by in zip(shares, tolerances, strict=True))
    (wanted,) = torch.autograd.grad(expected, delta)
    torch.testing.assert_close(value, expected, rtol=rounding, atol=0)
    torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=rounding * wanted.abs().max().item())
    torch.testing.assert_close(term.measure(), torch.stack(shares).detach().sqrt(), rtol=rounding, atol=0)


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
        measured.append(KeepTerm(scaled, held([contexts], (0.1,))).measure())
    torch.testing.assert_close(*measured)


@pytest.mark.parametrize(("tolerance", "factor"), [(0.001, 0.5), (100.0, -0.5)])
def test_the_multiplier_grows_where_too_much_moved_and_shrinks_elsewhere(tolerance, factor):
    term = KeepTerm(kv := trainable(), held([prompts(1)], (tolerance,)))
    for _ in range(9):
        term.after_step(torch.ones(()))
    before = term()
    term.after_step(torch.ones(()))
    torch.testing.assert_close((term() / before).log(), torch.tensor(factor), rtol=1e-4, atol=0)
    assert kv.delta.grad is None


def taken_back(kv: TrainableKV, share: float) -> None:
    with torch.no_grad():
        kv.delta.copy_(torch.lerp(kv.previous, kv.delta, share))


def test_share_of_the_change_that_stays_within_the_tolerance():
    kv = trainable()
    term = KeepTerm(kv, held([prompts(1), prompts(2)], (0.01, 9.0)))
    before = term.measure()
    share = term.kept_share()
    assert share == pytest.approx(1.1 * 0.01 / before[0].item())
    reached = term.measure(share)
    taken_back(kv, share)
    torch.testing.assert_close(term.measure(), before * share)
    torch.testing.assert_close(reached, term.measure())


def test_what_is_near_its_tolerance_stays():
    kv, sets = trainable(), [prompts(1)]
    near = KeepTerm(kv, held(sets, (1.0,))).measure().item() / 1.05
    assert KeepTerm(kv, held(sets, (near,))).kept_share() == 1.0


def test_earlier_trainings_leave_less_of_the_tolerance():
    """Of what is held from where it was long ago, only the rest of the tolerance is left: the sum stays within it."""
    kv, sets, earlier = trainable(), [prompts(1)], changes(5, 0.01)
    start = moved(kv, kv.previous, sets, [earlier])[0].sqrt().item()
    tolerance = 1.2 * start
    alone, after = KeepTerm(kv, held(sets, (tolerance,))), KeepTerm(kv, held(sets, (tolerance,), [earlier]))
    assert after.kept_share() < alone.kept_share() < 1
    taken_back(kv, after.kept_share())
    assert after.measure().item() == pytest.approx(1.1 * tolerance, rel=1e-3)
    assert moved(kv, kv.delta.detach(), sets, [earlier])[0].sqrt().item() == pytest.approx(1.1 * tolerance, rel=1e-2)


def test_what_was_too_far_already_is_not_much_further():
    kv, sets, earlier = trainable(), [prompts(1)], changes(5)
    start = moved(kv, kv.previous, sets, [earlier])[0].sqrt().item()
    term = KeepTerm(kv, held(sets, (start / 10,), [earlier]))
    taken_back(kv, term.kept_share())
    assert term.measure().item() <= 1.1 * start * (1 + 1e-2)
    taken_back(kv, 0.0)
    assert term.kept_share() == 1.0


def test_a_training_that_leads_back_is_not_cut():
    kv = trainable()
    away = torch.zeros(LAYOUT.size).index_put((kv.indices,), kv.previous - kv.delta.detach())
    term = KeepTerm(kv, held([prompts(1)], (1e-3,), [away]))  # the training has undone what earlier ones did
    assert term.kept_share() == 1.0
    assert term.measure().item() < 1e-3


def test_a_low_rank_factor_gives_the_moment():
    moment = held_moment(prompts(1, 1), [ROWS])
    factor = factor_of(moment)
    assert factor.shape == (8, 5)  # as many rows as the prompt has
    torch.testing.assert_close(factor @ factor.T, moment, rtol=1e-4, atol=1e-4)


def test_bytes_on_the_device():
    each = held([prompts(1, 1)], (0.1,))
    assert bytes_of(each, LAYOUT.size) == 4 * 8 * 5 + 2 * 8 * 5 + 4 * 4 * LAYOUT.size  # factor, offset (8 rows of K/V), copies
    assert bytes_of([], LAYOUT.size) == 0
