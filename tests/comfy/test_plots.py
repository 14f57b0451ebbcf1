"""Plots show the numbers they are of: areas of bars, heights of curves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cns_pack.cns_core.kv_layers import KVLayout
from cns_pack.cns_core.masks import NeuronMask
from cns_pack.nodes.inspect.plots import state_layers_plot
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
    assert len(where(plot, GREEN)) == 0  # there was no regularization
    heights = {color: [height(plot, color, column) for column in (200, 540)] for color in (BLUE, ORANGE)}
    assert heights[BLUE][0] - heights[BLUE][1] > 150
    assert abs(heights[ORANGE][0] - heights[ORANGE][1]) < 3
    assert heights[BLUE][1] < heights[ORANGE][1] < heights[BLUE][0]


def height(plot: torch.Tensor, color: tuple[int, int, int], column: int) -> float:
    """Of the curve around a column, in pixels from the bottom; the legend is to the right of both."""
    pixels = where(plot, color)
    near = pixels[abs(pixels[:, 1] - column) < 15, 0]
    return 450 - float(near.mean())


def test_many_concepts_leave_room_for_the_plot():
    pixels = state_layers_plot({f"<new{number}> painting": first(number % 10) for number in range(100)})[0].numpy()
    assert (np.ptp(pixels, axis=2) > 0.15).mean() > 0.4  # coloured
