"""λ_prev from gradients, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from cns_pack.cns_core.training.previous_weight import OBSERVED_STEPS, PreviousWeight


def found(gradients: list[torch.Tensor], lr: float) -> PreviousWeight:
    weight = PreviousWeight(lr, torch.device("cpu"))
    for gradient in gradients:
        weight.observe(gradient)
    return weight


def test_the_root_mean_square_over_twice_the_way_of_ten_steps():
    steps = [torch.tensor([3.0, 4.0])] * (OBSERVED_STEPS - 1)
    weight = found(steps, lr=0.01)
    assert not weight.known
    assert weight.value == 0
    weight.observe(torch.tensor([3.0, 4.0]))
    assert weight.known
    assert weight.value.item() == pytest.approx(math.sqrt(12.5) / (2 * 10 * 0.01))
    assert weight.pretrained.item() == pytest.approx(0.1 * weight.value.item())


def test_a_loss_ten_times_as_large_is_held_ten_times_as_firmly():
    gradients = [torch.randn(5, generator=torch.Generator().manual_seed(i)) for i in range(OBSERVED_STEPS)]
    plain, tenfold = (found([factor * each for each in gradients], 0.01).value for factor in (1.0, 10.0))
    torch.testing.assert_close(tenfold, 10 * plain)


def test_steps_that_overflowed_count_as_nothing():
    steps = [torch.tensor([math.inf, 1.0]), *[torch.ones(2)] * (OBSERVED_STEPS - 1)]
    assert found(steps, 0.5).value.item() == pytest.approx(math.sqrt(19 / 20) / 10)


def test_where_only_the_token_is_trained_nothing_is_found():
    assert found([torch.ones(2)] * OBSERVED_STEPS, 0.0).value == 0
