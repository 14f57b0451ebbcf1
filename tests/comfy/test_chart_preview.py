"""The chart for pages without JavaScript of ours."""

from __future__ import annotations

import numpy as np
import pytest
from cns_pack.cns_core.comfy_adapter.page.chart_preview import _CURVES, chart


def colors(picture) -> set[str]:
    return {"#{:02x}{:02x}{:02x}".format(*pixel) for pixel in np.asarray(picture).reshape(-1, 3)}


@pytest.mark.parametrize("losses", [(0.1, 0.0, 0.0), (0.1, 0.2, 0.0), (0.1, 0.0, 1e-9), (0.1, 0.2, 1e-9)])
def test_draws_the_losses_there_are(losses):
    instance, prior, regularization = losses
    rows = [[instance, prior, regularization * step, 0.0] for step in range(30)]
    drawn = colors(chart(rows, 60, "step 30"))
    for loss, (name, color) in zip(losses, _CURVES, strict=True):
        assert (color in drawn) == (loss > 0), name


def test_curves_reach_as_far_as_the_training():
    falling = [[0.1 - 0.003 * step, 0.0, 0.0, 0.0] for step in range(30)]
    picture = np.asarray(chart(falling, 60, ""))[60:]
    columns = np.flatnonzero((picture != picture[-1, 0]).any(axis=(0, 2)))
    assert columns.max() == pytest.approx(picture.shape[1] / 2, abs=3)


def test_first_step_and_losses_of_nothing():
    for losses in ([0.0] * 4, [0.1] * 4):
        assert chart([losses], 500, "step 1").size == (384, 216)
