"""Plots as IMAGE, float32 (1, height, width, 3) in 0..1: a training's losses, and shares of each layer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec

import numpy as np
import torch
from torch import Tensor

from ..cns_core.comfy_adapter.side_effects import SideEffect, text_picture
from ..cns_core.masks import NeuronMask

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE_INCHES, _DPI = (8, 4.5), 100
_SMOOTHING = 0.1  # share of the run the drawn mean looks back on
_REMEDY = "The node's other outputs are complete. Check how matplotlib is installed, and the variable MPLBACKEND if it is set."

P = ParamSpec("P")


def plot(draw: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """For functions that draw with matplotlib: where that fails, the picture says why.

    Text is drawn as it stands, not read as formulas, and in matplotlib's own style: ``rcParams`` are the whole process's.
    """

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        with SideEffect("The plot could not be drawn", _REMEDY) as drawing:
            from matplotlib import style

            with style.context(["default", {"text.parse_math": False}]):
                return draw(*args, **kwargs)
        width, height = (round(inches * _DPI) for inches in _SIZE_INCHES)
        return _image(np.asarray(text_picture(drawing.failure, width, height)))

    return drawn


def plot_axes(size_inches: tuple[float, float] = _SIZE_INCHES) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure  # a broken matplotlib costs a plot, not the whole pack

    figure = Figure(size_inches, dpi=_DPI, layout="constrained")
    return figure, figure.subplots()


def as_image(figure: Figure) -> Tensor:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return _image(np.asarray(canvas.buffer_rgba())[..., :3])


def _image(pixels: np.ndarray) -> Tensor:
    """uint8 (height, width, 3) -> IMAGE."""
    return torch.from_numpy(pixels.astype(np.float32) / 255).unsqueeze(0)


@plot
def loss_plot(history: Tensor, title: str) -> Tensor:
    """Instance, prior and weighted regularization loss of each step; ``history`` as in a training's result."""
    figure, axes = plot_axes()
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
    return as_image(figure)


@plot
def selection_plot(base: NeuronMask, general: NeuronMask, chosen: NeuronMask) -> Tensor:
    """Share of base, general and chosen weights in every layer."""
    figure, axes = plot_axes()
    positions = np.arange(len(chosen.layout.layers))
    for offset, (name, mask, color) in enumerate((("base", base, "C0"), ("general", general, "C7"), ("chosen", chosen, "C1"))):
        axes.bar(positions + (offset - 1) * 0.28, layer_shares(mask), 0.28, label=f"{name} {mask.share:.1%}", color=color)
    return by_layer(figure, axes, chosen, "Selected weights in each cross-attention matrix", 3)


def layer_shares(mask: NeuronMask) -> list[float]:
    """Percent of each layer's weights."""
    counts = mask.layer_counts()
    return [100 * counts[layer.name] / layer.size for layer in mask.layout.layers]


def name_layers(axes: Axes, mask: NeuronMask) -> None:
    layers = mask.layout.layers
    axes.set_xticks(range(len(layers)), [_short_name(layer.name) for layer in layers], rotation=90, fontsize=7)


def by_layer(figure: Figure, axes: Axes, mask: NeuronMask, title: str, legend_columns: int) -> Tensor:
    name_layers(axes, mask)
    axes.set(title=title, ylabel="% of the matrix")
    figure.legend(loc="outside lower center", ncols=legend_columns)
    axes.grid(axis="y", alpha=0.3)
    return as_image(figure)


def _short_name(layer: str) -> str:
    """``input_blocks.1.1.transformer_blocks.0.attn2.to_k`` -> ``in 1 K``."""
    parts = layer.split(".")
    side = parts[0].removesuffix("_blocks").removesuffix("_block").replace("input", "in").replace("output", "out")
    return f"{side} {parts[1]} {parts[-1][-1].upper()}"
