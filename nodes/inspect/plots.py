"""Plots of states, prompts and scores as IMAGE, float32 (1, height, width, 3) in 0..1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from ...cns_core.evaluation import Scores
from ...cns_core.masks import NeuronMask
from ..plots import as_image, by_layer, layer_shares, name_layers, plot, plot_axes

_MOST_IN_LEGEND, _MOST_ON_AXIS = 12, 30  # names that leave room for the plot, and that can be told apart


def _ticks(names: Sequence[str]) -> tuple[range, Sequence[str]]:
    """Places and names for an axis, of many every second, third, …"""
    every = -(-len(names) // _MOST_ON_AXIS)
    return range(0, len(names), every), names[::every]


@plot
def state_layers_plot(masks: Mapping[str, NeuronMask]) -> Tensor:
    """Share of each layer's weights that each concept trains; ``masks`` by the concept's name."""
    figure, axes = plot_axes()
    title, any_mask = "Weights each concept trains, by cross-attention matrix", next(iter(masks.values()))
    if len(masks) > _MOST_IN_LEGEND:
        drawn = axes.imshow([layer_shares(mask) for mask in masks.values()], aspect="auto", interpolation="nearest", vmin=0)
        figure.colorbar(drawn, label="% of the matrix")
        axes.set_title(title)
        axes.set_yticks(*_ticks(list(masks)), fontsize=7)
        name_layers(axes, any_mask)
        return as_image(figure)
    for name, mask in masks.items():
        axes.plot(layer_shares(mask), marker="o", markersize=3, label=f"{name} {mask.share:.1%}")
    axes.set_ylim(bottom=0)
    return by_layer(figure, axes, any_mask, title, 3)


@plot
def overlap_plot(names: Sequence[str], matrix: np.ndarray, title: str) -> Tensor:
    """Intersection over union of every pair, (n, n), with the numbers written in where they can be read."""
    figure, axes = plot_axes((7, 6))
    drawn = axes.imshow(matrix, vmin=0, vmax=1, cmap="viridis")
    axes.set_xticks(*_ticks(names), rotation=45 if len(names) <= _MOST_IN_LEGEND else 90, ha="right")
    axes.set_yticks(*_ticks(names))
    axes.tick_params(labelsize=10 if len(names) <= _MOST_IN_LEGEND else 7)
    if len(names) <= _MOST_IN_LEGEND:
        for (row, column), value in np.ndenumerate(matrix):
            color = "black" if value > 0.6 else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=color, fontsize=8)
    axes.set(title=title)
    figure.colorbar(drawn, label="intersection over union")
    return as_image(figure)


@plot
def budget_plot(names: Sequence[str], shares: Sequence[float], fresh: Sequence[float]) -> Tensor:
    """For each concept in order, its share of K/V, split into weights no earlier concept had and weights it shares."""
    figure, axes = plot_axes()
    percent, new, places = 100 * np.array(shares), np.array(fresh), range(len(names))
    axes.bar(places, percent * new, label="new", color="C1")
    axes.bar(places, percent * (1 - new), bottom=percent * new, label="trained by an earlier concept too", color="C7")
    axes.axhline(5, color="C0", linestyle="--", linewidth=1, label="paper: about 5 %")
    axes.set(title="Neurons of each concept", ylabel="% of K/V")
    axes.set_xticks(*_ticks(names), rotation=30 if len(names) <= _MOST_IN_LEGEND else 90)
    figure.legend(loc="outside lower center", ncols=3)
    axes.grid(axis="y", alpha=0.3)
    return as_image(figure)


@plot
def query_plot(names: Sequence[str], selected: Sequence[float], left: Sequence[float]) -> Tensor:
    """What each query selects of K/V, split into general weights and those that are left, beside the paper's figures."""
    figure, axes = plot_axes()
    own, whole = 100 * np.array(left), 100 * np.array(selected)
    axes.bar(names, own, label=f"its own: {own.mean():.1f} % on average", color="C1")
    axes.bar(names, whole - own, bottom=own, label=f"general: {(whole - own).mean():.1f} %", color="C7")
    axes.axhline(5, color="C0", linestyle="--", linewidth=1, label="concept neurons in the paper: about 5 %")
    general = 0.53 * whole.mean()
    axes.axhline(
        whole.mean() - general,
        color="C3",
        linestyle=":",
        linewidth=1,
        label=f"general in the paper: {general:.1f} % above the line",
    )
    axes.set(title="Weights each query selects", ylabel="% of K/V")
    axes.tick_params(axis="x", rotation=30)
    figure.legend(loc="outside lower center", ncols=2)
    axes.grid(axis="y", alpha=0.3)
    return as_image(figure)


@plot
def shared_plot(shares: np.ndarray) -> Tensor:
    """Share of a selection that 1, 2, …, n prompts have in common (the paper's figure 3)."""
    figure, axes = plot_axes()
    axes.plot(range(1, len(shares) + 1), 100 * shares, marker="o", markersize=3)
    axes.axhline(53, color="C7", linestyle="--", linewidth=1, label="paper, 20 prompts: 53 %")
    axes.set(title="Weights that all prompts select", xlabel="prompts", ylabel="% of one prompt's selection")
    axes.set_ylim(0, 105)
    axes.legend()
    axes.grid(alpha=0.3)
    return as_image(figure)


@plot
def score_plot(scores: Scores) -> Tensor:
    """Every score of each image, and its concepts' ceilings as lines."""
    figure, axes = plot_axes()
    numbers = np.arange(1, len(scores.prompts) + 1)
    if scores.text is not None:
        axes.plot(numbers, scores.text, "o", color="C7", label="CLIP-T")
    for number, (name, values) in enumerate(scores.alike.items()):
        axes.plot(numbers, values, "s", color=f"C{number}", label=f"{scores.likeness} of {name}")
        axes.axhline(scores.ceilings[name], color=f"C{number}", linestyle=":", linewidth=1)
    axes.set(xlabel="image", ylabel="score", xticks=numbers if len(numbers) <= 30 else numbers[:: len(numbers) // 15])
    axes.grid(alpha=0.3)
    axes.legend()
    return as_image(figure)
