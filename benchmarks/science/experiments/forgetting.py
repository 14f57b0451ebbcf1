"""Figure 5 of the paper: what is left of the first concept after each of seven, and of ordinary prompts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from benchmarks.science.bench import Bench
from benchmarks.science.paper_protocol import SETS, single_tests, tokens_of
from benchmarks.science.report import mean_sd, save_plot, sd, table, write
from benchmarks.science.sequences import Sequence, load_states
from benchmarks.science.variants import KEPT, PAPER, Variant

from .tables import ordinary_before, state_grid

_COMPARED = {**PAPER, **{key: KEPT[key] for key in ("keep_concept", "keep_full")}}
_SHOWN = ("no_reg", "cns", "keep_full")  # in pictures


def fig5(bench: Bench) -> None:
    """The first concept's scores after each concept, and ordinary prompts beside it; pictures of one set."""
    first_concept(bench, _COMPARED, "fig5")
    seed, names = bench.seeds[0], bench.own(bench.seeds[0])
    tests = [single_tests(name, tokens_of(names), seed)[0] for name in names]
    sequences = {key: Sequence(_COMPARED[key], names, seed) for key in _SHOWN}
    bench.teach(sequences.values())
    for key, sequence in sequences.items():
        states = dict(zip([f"after {name}" for name in names], load_states(bench.lab, sequence), strict=True))
        state_grid(bench.lab, states, names, tests, f"forgetting_{key}")


def first_concept(bench: Bench, variants: dict[str, Variant], name: str) -> None:
    """What is left of it after each concept, and of ordinary pictures: tables, and a plot of what changes on the same concepts
    and noise, as the concepts themselves differ more.
    """
    runs, before = bench.runs(variants), [scores["error"] for scores in ordinary_before(bench)]
    curves = {
        "first concept is there": _curves(runs, lambda row, names: row["concepts"][names[0]]["concept"]),
        "its CLIP-I": _curves(runs, lambda row, names: row["concepts"][names[0]]["clip_i"]),
        "error on its unseen pictures": _curves(runs, lambda row, names: row["concepts"][names[0]]["error"]),
        "error on ordinary pictures": _curves(runs, lambda row, _: row["ordinary"]["error"], before),
    }
    figure = Figure((16, 4.5), layout="constrained")
    drawn = figure.subplots(1, len(curves))
    for axes, (title, of_variants) in zip(drawn, curves.items(), strict=True):
        first = 0 if "ordinary" in title else 1
        for number, (key, values) in enumerate(of_variants.items()):
            taught, change = np.arange(values.shape[1]) + first + 0.06 * number, values - values[:, :1]
            axes.errorbar(taught, change.mean(0), sd(change), label=variants[key].title, capsize=2)
        axes.set(title=f"{title}: change", xlabel="concepts taught")
        shown = partial(mean_sd, digits=4, scale=1) if "error" in title else mean_sd
        rows = [
            [variants[key].title, *map(shown, values.T), shown(values[:, -1] - values[:, 0])]
            for key, values in of_variants.items()
        ]
        table([f"{title}, after", *range(first, len(SETS[0]) + 1), "change"], rows)
    figure.legend(*drawn[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(variants))
    save_plot(figure, name)
    write(bench, name, {title: {key: c.tolist() for key, c in part.items()} for title, part in curves.items()})


def _curves(
    runs: dict[str, list[dict]], value: Callable[[dict, list[str]], float], start: list[float] | None = None
) -> dict[str, np.ndarray]:
    """For each variant (seeds, concepts taught); with ``start`` the untaught model's value of each seed in front."""
    curves = {
        key: np.array([[value(row, result["names"]) for row in result["after"]] for result in results])
        for key, results in runs.items()
    }
    return curves if start is None else {key: np.column_stack([start, values]) for key, values in curves.items()}
