"""Plots show the numbers they are of: areas of bars, heights of curves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cns_pack.cns_core.kv_layers import KVLayout
from cns_pack.cns_core.masks import NeuronMask
from cns_pack.nodes.plots import loss_plot, selection_plot

BLUE, ORANGE, GREEN, GRAY = (31, 119, 180), (255, 127, 14), (44, 160, 44), (127, 127, 127)  # matplotlib's C0, C1, C2, C7
LAYOUT = KVLayout.from_shapes({f"input_blocks.{n}.1.transformer_blocks.0.attn2.to_k": (10, 10) for n in (1, 2)})


def where(plot: torch.Tensor, color: tuple[int, int, int]) -> np.ndarray:
    """Rows and columns (n, 2) of the pixels of a colour in the upper four fifths, above the legend."""
    pixels = (plot[0].numpy() * 255).round().astype(np.uint8)
    assert pixels.shape == (450, 800, 3)
    return np.argwhere((pixels[:360] == color).all(axis=2))


def first(count: int) -> NeuronMask:
    """So many of every ten weights."""
    return NeuronMask.from_flat(LAYOUT, np.arange(LAYOUT.size) % 10 < count)


def test_bars_are_as_high_as_the_shares():
    plot = selection_plot(first(8), first(4), first(2))
    areas = [len(where(plot, color)) for color in (BLUE, GRAY, ORANGE)]
    assert areas[1] / areas[0] == pytest.approx(4 / 8, abs=0.06)  # less the grid's lines
    assert areas[2] / areas[0] == pytest.approx(2 / 8, abs=0.06)


def test_curves_go_where_the_losses_go():
    falling, constant = torch.linspace(0.4, 0.0, 50), torch.full((50,), 0.2)
    plot = loss_plot(torch.stack([falling, constant, torch.zeros(50), falling + constant], dim=1), "Teaching <new1> dog")
    blue, orange = where(plot, BLUE), where(plot, ORANGE)
    assert len(where(plot, GREEN)) == 0  # there was no regularization
    left, right = (blue[blue[:, 1] == column, 0].mean() for column in np.quantile(blue[:, 1], (0.1, 0.9)).round())
    assert right - left > 60  # rows count from the top
    lower = orange[orange[:, 1] < 600, 0]  # left of the legend
    assert np.ptp(lower) < 6
    assert left < lower.mean() < right
