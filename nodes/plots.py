"""Plots as IMAGE: float32 (1, height, width, 3) in 0..1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from ..cns_core.masks import NeuronMask

_SIZE_INCHES, _DPI = (8, 4.5), 100
_SMOOTHING = 0.1  # share of the run the drawn mean looks back on


def _image(figure: Figure) -> Tensor:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].astype(np.float32) / 255).unsqueeze(0)


def loss_plot(history: Tensor, title: str) -> Tensor:
    """Instance, prior and weighted regularization loss of each step; history (steps, 4)."""
    figure = Figure(_SIZE_INCHES, dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    steps = np.arange(1, len(history) + 1)
    window = max(1, round(len(history) * _SMOOTHING))
    for column, (name, color) in enumerate((("instance", "C0"), ("prior", "C1"), ("regularization (weighted)", "C2"))):
        values = history[:, column].numpy()
        if not values.any():
            continue
        axes.plot(steps, values, color=color, alpha=0.25, linewidth=0.8)
        sums = np.cumsum(np.insert(values, 0, 0.0))
        starts = np.maximum(steps - window, 0)
        axes.plot(
            steps, (sums[steps] - sums[starts]) / (steps - starts), color=color, label=name, marker="." * (len(steps) < 3)
        )
    axes.set(title=title, xlabel="step", ylabel="loss")
    axes.set_ylim(bottom=0)
    axes.legend()
    axes.grid(alpha=0.3)
    return _image(figure)


def selection_plot(base: NeuronMask, general: NeuronMask, chosen: NeuronMask) -> Tensor:
    """Share of base, general and chosen weights in every layer."""
    figure = Figure(_SIZE_INCHES, dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    layers = chosen.layout.layers
    positions = np.arange(len(layers))
    for offset, (name, mask, color) in enumerate((("base", base, "C0"), ("general", general, "C7"), ("chosen", chosen, "C1"))):
        counts = mask.layer_counts()
        shares = [100 * counts[layer.name] / layer.size for layer in layers]
        axes.bar(positions + (offset - 1) * 0.28, shares, 0.28, label=f"{name} {mask.share:.1%}", color=color)
    labels = [_short_name(layer.name) for layer in layers]
    axes.set_xticks(positions, labels, rotation=90, fontsize=7)
    axes.set(title="Selected weights in each cross-attention matrix", ylabel="% of the matrix")
    figure.legend(loc="outside lower center", ncols=3)
    axes.grid(axis="y", alpha=0.3)
    return _image(figure)


def state_layers_plot(masks: Mapping[str, NeuronMask]) -> Tensor:
    """Share of each layer's weights that each concept trains; ``masks`` by the concept's name."""
    figure = Figure(_SIZE_INCHES, dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    layers = next(iter(masks.values())).layout.layers
    for name, mask in masks.items():
        counts = mask.layer_counts()
        shares = [100 * counts[layer.name] / layer.size for layer in layers]
        axes.plot(shares, marker="o", markersize=3, label=f"{name} {mask.share:.1%}")
    axes.set_xticks(range(len(layers)), [_short_name(layer.name) for layer in layers], rotation=90, fontsize=7)
    axes.set(title="Weights each concept trains, by cross-attention matrix", ylabel="% of the matrix")
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=4)
    axes.grid(alpha=0.3)
    return _image(figure)


def overlap_plot(names: Sequence[str], matrix: np.ndarray, title: str) -> Tensor:
    """Intersection over union of every pair, (n, n), with the numbers written in where they can be read."""
    figure = Figure((7, 6), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(matrix, vmin=0, vmax=1, cmap="viridis")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    if len(names) <= 12:
        for (row, column), value in np.ndenumerate(matrix):
            color = "black" if value > 0.6 else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=color, fontsize=8)
    axes.set(title=title)
    figure.colorbar(drawn, label="intersection over union")
    return _image(figure)


def budget_plot(names: Sequence[str], shares: Sequence[float], fresh: Sequence[float]) -> Tensor:
    """For each concept in order, its share of K/V, split into weights no earlier concept had and weights it shares."""
    figure = Figure(_SIZE_INCHES, dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    percent, new = 100 * np.array(shares), np.array(fresh)
    axes.bar(names, percent * new, label="new", color="C1")
    axes.bar(names, percent * (1 - new), bottom=percent * new, label="trained by an earlier concept too", color="C7")
    axes.axhline(5, color="C0", linestyle="--", linewidth=1, label="paper: about 5 %")
    axes.set(title="Neurons of each concept", ylabel="% of K/V")
    axes.tick_params(axis="x", rotation=30)
    axes.legend()
    axes.grid(axis="y", alpha=0.3)
    return _image(figure)


def query_plot(names: Sequence[str], selected: Sequence[float], left: Sequence[float]) -> Tensor:
    """What each query selects of K/V, split into general weights and those that are left, beside the paper's figures."""
    figure = Figure(_SIZE_INCHES, dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    own, whole = 100 * np.array(left), 100 * np.array(selected)
    axes.bar(names, own, label=f"its own: {own.mean():.1f} % on average", color="C1")
    axes.bar(names, whole - own, bottom=own, label=f"general: {(whole - own).mean():.1f} %", color="C7")
    axes.axhline(5, color="C0", linestyle="--", linewidth=1, label="concept neurons in the paper: about 5 %")
    general = 0.53 * whole.mean()
    axes.axhline(whole.mean() - general, color="C3", linestyle=":", linewidth=1, label=f"general in the paper: {general:.1f} %")
    axes.set(title="Weights each query selects", ylabel="% of K/V")
    axes.tick_params(axis="x", rotation=30)
    figure.legend(loc="outside lower center", ncols=2)
    axes.grid(axis="y", alpha=0.3)
    return _image(figure)


def shared_plot(shares: np.ndarray) -> Tensor:
    """Share of a selection that 1, 2, …, n prompts have in common (the paper's figure 3)."""
    figure = Figure(_SIZE_INCHES, dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    axes.plot(range(1, len(shares) + 1), 100 * shares, marker="o", markersize=3)
    axes.axhline(53, color="C7", linestyle="--", linewidth=1, label="paper, 20 prompts: 53 %")
    axes.set(title="Weights that all prompts select", xlabel="prompts", ylabel="% of one prompt's selection")
    axes.set_ylim(0, 105)
    axes.legend()
    axes.grid(alpha=0.3)
    return _image(figure)


def _short_name(layer: str) -> str:
    """``input_blocks.1.1.transformer_blocks.0.attn2.to_k`` -> ``in 1 K``."""
    parts = layer.split(".")
    side = parts[0].removesuffix("_blocks").removesuffix("_block").replace("input", "in").replace("output", "out")
    return f"{side} {parts[1]} {parts[-1][-1].upper()}"
