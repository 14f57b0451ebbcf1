"""What nodes say in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cns_pack.cns_core.figures import enlarged_figures, training_figures
from cns_pack.cns_core.fingerprint import Fingerprint, Projections
from cns_pack.cns_core.kv_layers import KVLayout
from cns_pack.cns_core.masks import NeuronMask
from cns_pack.cns_core.sparse_delta import SparseDelta
from cns_pack.cns_core.state import CNSState, LearnedConcept
from cns_pack.cns_core.training import TrainingResult

LAYOUT = KVLayout.from_shapes({"a.attn2.to_k": (2, 2)})


def images(*sizes: tuple[int, int]) -> list[torch.Tensor]:
    return [torch.zeros(*size, 3) for size in sizes]


def test_enlarged_images_are_counted():
    concept, prior = images((63, 90), (64, 64), (128, 80)), images((64, 40), (10, 10))
    advice = "which blurs them: use larger ones, or a lower resolution"
    assert enlarged_figures({"concept": concept, "prior": prior}, 64) == (
        f"- 1 of 3 concept images and 2 of 2 prior images were enlarged to 64 px, {advice}"
    )
    assert enlarged_figures({"concept": concept, "prior": []}, 64) == (
        f"- 1 of 3 concept images was enlarged to 64 px, {advice}"
    )
    assert enlarged_figures({"concept": concept[1:], "prior": []}, 64) == ""


def learned(count: int, norm: float = 2.0) -> LearnedConcept:
    mask = NeuronMask.from_flat(LAYOUT, np.ones(LAYOUT.size, dtype=bool))
    figures = {"prior_images": count, "ordinary_norm": 0.4}
    return LearnedConcept("<new1>", "dog", mask, torch.tensor([[norm, 0.0]]), ("a",), {"keep_tolerance": 2.0}, figures)


@pytest.mark.parametrize(("count", "warned"), [(0, False), (1, True), (19, True), (20, False)])
def test_few_prior_images_are_warned_of(count, warned):
    state = CNSState(LAYOUT, Fingerprint(Projections((1.0,), 0.1)), SparseDelta.zero(LAYOUT), (learned(count),))
    result = TrainingResult(torch.ones(4), torch.ones(1, 2), torch.ones(3, 4), 0, 1.0, {}, 1.0, None)
    figures = training_figures(state, result)
    assert ("memorized: use 20 or more; Make Prior Images draws them" in figures) == warned
    assert ("only 1 prior image is used" in figures) == (count == 1)
    assert "length of the token's vectors 2.00 (an ordinary word's: 0.40)" in figures


@pytest.mark.parametrize(
    ("resumed", "line"),
    [
        (0, "`<new1> dog`: 8 steps in 2.0 s (4.00 it/s)"),
        (6, "`<new1> dog`: 8 steps, 2 of them now in 2.0 s (1.00 it/s)"),
        (8, "`<new1> dog`: 8 steps, 0 of them now"),
    ],
)
def test_the_speed_is_that_of_the_steps_done_now(resumed, line):
    state = CNSState(LAYOUT, Fingerprint(Projections((1.0,), 0.1)), SparseDelta.zero(LAYOUT), (learned(0),))
    result = TrainingResult(torch.ones(4), torch.ones(1, 2), torch.ones(8, 4), resumed, 2.0, {}, 1.0, None)
    assert training_figures(state, result).splitlines()[0] == f"- {line}"
