"""Which weights to train, and what to hold the earlier concepts with: seven concepts in a row, and twenty."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmarks.science.bench import Bench, Order
from benchmarks.science.paper_protocol import SETS, TWENTY
from benchmarks.science.report import mean_sd, save_plot, sd, table, write
from benchmarks.science.variants import KEPT, PAPER, Variant

from .ablation import multi_grid, untaught

_TWENTY = {"cns": PAPER["cns"], **{key: KEPT[key] for key in ("keep_base", "keep_full")}}


def recipe(bench: Bench) -> None:
    """Every mask with K and V kept to a tolerance, beside the paper's recipe and its ablations; seven concepts."""
    variants = {**PAPER, **KEPT}
    before = [result["after"][-1]["ordinary"]["rest"] for result in untaught(bench)]
    _compare(bench, "recipe", variants, SETS, before)
    multi_grid(bench, variants, "recipe")


def twenty(bench: Bench) -> None:
    """Twenty concepts, each seed in its own order: what is left of each by age."""
    orders = tuple(tuple(random.Random(number).sample(TWENTY, len(TWENTY))) for number in range(len(bench.seeds)))
    before = [result["after"][-1]["ordinary"]["rest"] for result in untaught(bench)]
    by_age = _compare(bench, "twenty", _TWENTY, orders, before)
    figure = Figure((10, 4), layout="constrained")
    titles = ("is there just after its training", "is there after the twentieth concept")
    for axes, title, part in zip(figure.subplots(1, 2), titles, (0, 1), strict=True):
        for key, shares in by_age.items():
            smooth, places = np.array([_smooth(of_seed) for of_seed in shares[part]]), range(1, len(TWENTY) + 1)
            axes.plot(places, smooth.mean(0), label=_TWENTY[key].title)
            axes.fill_between(places, smooth.mean(0) - sd(smooth), smooth.mean(0) + sd(smooth), alpha=0.1)
        axes.set(title=title, xlabel="taught as number", ylim=(0, 1.02))
    axes.legend(fontsize=8)
    save_plot(figure, "twenty")


def _compare(
    bench: Bench, name: str, variants: dict[str, Variant], orders: tuple[Order, ...], before: Sequence[float]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A table of what a user gains and loses, mean ± sd over seeds. For each variant how often each concept is there, just
    after its training and at the end: (seeds, concepts) each. ``before``: of each seed, ordinary prompts right untaught.
    """
    by_age, rows, figures = {}, [], {}
    for key, results in bench.runs(variants, orders, every=False).items():
        named = [(result["names"], result["after"]) for result in results]
        new = np.array([[row["concepts"][n]["concept"] for n, row in zip(*one, strict=True)] for one in named])
        end = np.array([[after[-1]["concepts"][n]["concept"] for n in names] for names, after in named])
        ordinary = np.array([after[-1]["ordinary"]["rest"] for _, after in named])
        cells = {
            "first one, new": new[:, 0],
            "later ones, new": new[:, 1:].mean(1),
            "first one, at the end": end[:, 0],
            "it lost": new[:, 0] - end[:, 0],
            "all, at the end": end.mean(1),
            "they lost": (new - end).mean(1),
            "two in one picture": np.array([result["multi 2"]["both"] for result in results]),
            "three": np.array([result["multi 3"]["both"] for result in results]),
            "ordinary prompts right": ordinary,
            "lost of them": np.array(before) - ordinary,
            "K/V used": np.array([after[-1]["used"] for _, after in named]),
        }
        by_age[key] = new, end
        rows.append([variants[key].title, *map(mean_sd, cells.values())])
        figures[key] = {title: values.tolist() for title, values in cells.items()}
    table(["%", *cells], rows)
    write(bench, name, {"orders": orders, "variants": figures})
    return by_age


def _smooth(values: np.ndarray, width: int = 5) -> np.ndarray:
    """Means over up to five neighbours."""
    return np.array([values[max(0, i - width // 2) : i + width // 2 + 1].mean() for i in range(len(values))])
