"""Twenty concepts in a row: what is left of each by its age, and whether later ones are learned as well."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from benchmarks.science.bench import Bench
from benchmarks.science.paper_protocol import orders_of_twenty
from benchmarks.science.report import mean_sd, save_plot, sd, table, write
from benchmarks.science.variants import KEPT, PAPER

from .tables import compare, new_and_end

_VARIANTS = {"cns": PAPER["cns"], **{key: KEPT[key] for key in ("keep_base", "keep_full")}}
_SPAN = 5  # concepts that a figure is the mean of


def twenty(bench: Bench) -> None:
    """Twenty concepts, each seed in its own order: what is left of each by age."""
    runs = compare(bench, "twenty", _VARIANTS, orders_of_twenty(len(bench.seeds)))
    shares, errors = ({key: new_and_end(results, what) for key, results in runs.items()} for what in ("concept", "error"))
    changes = {
        "lost, % points": {key: new - end for key, (new, end) in shares.items()},
        "error higher by, %": {key: end / new - 1 for key, (new, end) in errors.items()},
    }
    for title, of_variants in changes.items():
        _by_age(title, of_variants)
    by_concept = {title: {key: c.tolist() for key, c in of_variants.items()} for title, of_variants in changes.items()}
    write(bench, "twenty_by_age", by_concept)
    rows = [
        [_VARIANTS[key].title, ten_places_later([result["names"] for result in results], shares[key][0])]
        for key, results in runs.items()
    ]
    table(["", "there when new if taught ten places later, % points"], rows)
    _curves(shares)


def _by_age(title: str, changes: dict[str, np.ndarray]) -> None:
    """Means over five concepts each, of (seeds, concepts)."""
    count = len(next(iter(changes.values()))[0])
    starts = range(0, count, _SPAN)
    rows = [
        [_VARIANTS[key].title, *(mean_sd(values[:, first : first + _SPAN].mean(1)) for first in starts)]
        for key, values in changes.items()
    ]
    table([title, *(f"taught as {first + 1} to {first + _SPAN}" for first in starts)], rows)


def ten_places_later(orders: list[tuple[str, ...]], new: np.ndarray) -> str:
    """Each concept against itself in the other orders: slope with its standard error, by least squares. ``new`` (seeds,
    concepts).
    """
    numbers = [[sorted(order).index(name) for name in order] for order in orders]
    own = np.eye(len(orders[0]))[np.ravel(numbers)]  # a mean of its own for each concept
    places = np.tile(np.arange(len(orders[0])) / 10, len(orders))
    terms = np.column_stack([places, own])
    fitted, *_ = np.linalg.lstsq(terms, new.ravel(), rcond=None)
    free = len(terms) - np.linalg.matrix_rank(terms)
    variance = np.square(new.ravel() - terms @ fitted).sum() / max(1, free)
    error = np.sqrt(variance * np.linalg.pinv(terms.T @ terms)[0, 0])
    return f"{100 * fitted[0]:.1f} ± {100 * error:.1f}"


def _curves(shares: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """How often each is there by its place in the order."""
    figure = Figure((10, 4), layout="constrained")
    titles = ("is there just after its training", "is there after the twentieth concept")
    for axes, title, part in zip(figure.subplots(1, 2), titles, (0, 1), strict=True):
        for key, of_key in shares.items():
            smooth = np.array([_smooth(of_seed) for of_seed in of_key[part]])
            places = list(range(1, 1 + smooth.shape[1]))
            axes.plot(places, smooth.mean(0), label=_VARIANTS[key].title)
            axes.fill_between(places, smooth.mean(0) - sd(smooth), smooth.mean(0) + sd(smooth), alpha=0.1)
        axes.set(title=title, xlabel="taught as number", xticks=[1, *places[_SPAN - 1 :: _SPAN]], ylim=(0, 1.02))
    axes.legend(fontsize=8)
    save_plot(figure, "twenty")


def _smooth(values: np.ndarray) -> np.ndarray:
    """Means over a span, or what there is of it at the ends."""
    return np.array([values[max(0, i - _SPAN // 2) : i + _SPAN // 2 + 1].mean() for i in range(len(values))])
