"""L_reg and its λ_prev, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from cns_pack.cns_core.kv_layers import KVLayout
from cns_pack.cns_core.masks import NeuronMask
from cns_pack.cns_core.sparse_delta import SparseDelta
from cns_pack.cns_core.training.previous_term import OBSERVED_STEPS, PreviousTerm
from cns_pack.cns_core.training.trainable_kv import TrainableKV

SHAPES = {"a.attn2.to_k": (1, 2), "a.attn2.to_v": (1, 2)}


def term(prev_weight: float | None, pretrained_weight: float = 0.0, lr: float = 0.01, shared: tuple[int, ...] = (0, 2)):
    """Three trained weights, at 1, 2, 3 after the earlier concept and at 1.5, 2, 5 now; the first and the last are shared."""
    layout = KVLayout.from_shapes(SHAPES)
    mask = NeuronMask.from_flat(layout, np.array([True, True, False, True]))
    previous = SparseDelta(mask, torch.tensor([1.0, 2.0, 3.0]))
    kv = TrainableKV({name: torch.zeros(shape) for name, shape in SHAPES.items()}, mask, previous, torch.device("cpu"))
    with torch.no_grad():
        kv.delta += torch.tensor([0.5, 0.0, 2.0])
    return PreviousTerm(kv, torch.tensor(shared, dtype=torch.int64), prev_weight, pretrained_weight, lr)


def observed(gradients: list[torch.Tensor], lr: float = 0.01) -> PreviousTerm:
    previous_term = term(None, lr=lr)
    for gradient in gradients:
        previous_term.observe(gradient)
    return previous_term


def test_equation_7_of_a_worked_example():
    # 2 · (0.5² + 2²) + 3 · (1.5² + 5²)
    assert term(2.0, 3.0)().item() == pytest.approx(2 * 4.25 + 3 * 27.25)
    assert term(2.0, 3.0, shared=())().item() == 0


def test_the_root_mean_square_over_twice_the_way_of_ten_steps():
    previous_term = observed([torch.tensor([3.0, 4.0])] * (OBSERVED_STEPS - 1))
    assert previous_term.wants_gradients
    assert previous_term().item() == 0
    previous_term.observe(torch.tensor([3.0, 4.0]))
    assert not previous_term.wants_gradients
    found = math.sqrt(12.5) / (2 * 10 * 0.01)
    assert previous_term.prev_weight.item() == pytest.approx(found)
    assert previous_term().item() == pytest.approx(found * 4.25 + 0.1 * found * 27.25)


def test_a_loss_ten_times_as_large_is_held_ten_times_as_firmly():
    gradients = [torch.randn(5, generator=torch.Generator().manual_seed(i)) for i in range(OBSERVED_STEPS)]
    plain, tenfold = (observed([factor * each for each in gradients]).prev_weight for factor in (1.0, 10.0))
    torch.testing.assert_close(tenfold, 10 * plain)


def test_steps_that_overflowed_count_as_nothing():
    steps = [torch.tensor([math.inf, 1.0]), *[torch.ones(2)] * (OBSERVED_STEPS - 1)]
    assert observed(steps, lr=0.5).prev_weight.item() == pytest.approx(math.sqrt(19 / 20) / 10)


@pytest.mark.parametrize("nothing_to_hold", [{"lr": 0.0}, {"shared": ()}, {"prev_weight": 0.5}])
def test_nothing_is_looked_for_where_nothing_is_held(nothing_to_hold):
    assert not term(**{"prev_weight": None, **nothing_to_hold}).wants_gradients
