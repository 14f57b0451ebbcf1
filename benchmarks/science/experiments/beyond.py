"""Holding K and V of earlier prompts, and other choices of neurons, against the paper's recipe."""

from __future__ import annotations

import random

import numpy as np
from matplotlib.figure import Figure

from benchmarks.science.bench import Bench
from benchmarks.science.paper_protocol import TWENTY
from benchmarks.science.report import mean_sd, save_plot, sd, table, write
from benchmarks.science.selections import SELECTIONS
from benchmarks.science.variants import BEYOND, KEEP, PAPER, Variant

from .ablation import compare, multi_grid

_TWENTY = {key: PAPER[key] for key in ("cns", "random", "full")}
_TWENTY |= {key: BEYOND[key] for key in ("keep_concept", "keep_base", "keep_full")}


def beyond(bench: Bench) -> None:
    """After seven concepts: every mask with and without the keep term."""
    plain = {"base": Variant("base neurons", "base"), **{key: PAPER[key] for key in ("no_reg", "full", "random")}}
    variants = {"cns": PAPER["cns"], **plain, **BEYOND}
    compare(bench, "beyond", variants, every=False)
    multi_grid(bench, variants, "beyond")


def selection(bench: Bench) -> None:
    """Other choices of as many neurons, with the keep term; one of them with the paper's loss too."""
    compared = {"cns": PAPER["cns"], "keep_concept": BEYOND["keep_concept"]}
    compared["unowned"] = Variant("unowned, which needs no L_reg", settings=PAPER["cns"].settings, selection="unowned")
    compared |= {f"{name} keep": Variant(f"{name}, keep term", settings=KEEP, selection=name) for name in SELECTIONS}
    compare(bench, "selection", compared, every=False)


def twenty(bench: Bench) -> None:
    """Twenty concepts in a row, each seed in its own order: what is left of each by age, and how many weights were used."""
    orders = tuple(tuple(random.Random(number).sample(TWENTY, len(TWENTY))) for number in range(len(bench.seeds)))
    runs = bench.runs(_TWENTY, orders, every=False)
    rows, figures = [], {}
    figure = Figure((10, 4), layout="constrained")
    by_age, new = figure.subplots(1, 2)
    for key, results in runs.items():
        end = np.array([[r["after"][-1]["concepts"][name]["concept"] for name in r["names"]] for r in results])
        fresh = np.array(
            [[row["concepts"][name]["concept"] for name, row in zip(r["names"], r["after"], strict=True)] for r in results]
        )
        cells = {
            "there when new": fresh.mean(1),
            "there at the end": end.mean(1),
            "lost": (fresh - end).mean(1),
            "CLIP-I at the end": [np.mean([c["clip_i"] for c in r["after"][-1]["concepts"].values()]) for r in results],
            "doubles right": [r["multi 2"]["both"] for r in results],
            "triples right": [r["multi 3"]["both"] for r in results],
            "ordinary prompts right": [r["after"][-1]["ordinary"]["rest"] for r in results],
            "K/V used": [r["after"][-1]["used"] for r in results],
        }
        figures[key] = {"by age, new": fresh.tolist(), "by age, end": end.tolist()}
        figures[key] |= {title: np.asarray(values).tolist() for title, values in cells.items()}
        rows.append([_TWENTY[key].title, *map(mean_sd, cells.values())])
        for axes, values in ((by_age, end), (new, fresh)):
            smooth, places = np.array([_smooth(of_seed) for of_seed in values]), range(1, len(TWENTY) + 1)
            mean, spread = smooth.mean(0), sd(smooth)
            axes.plot(places, mean, label=_TWENTY[key].title)
            axes.fill_between(places, mean - spread, mean + spread, alpha=0.1)
    by_age.set(title="is there after the twentieth concept", xlabel="taught as number", ylim=(0, 1.02))
    new.set(title="is there just after its training", xlabel="taught as number", ylim=(0, 1.02))
    by_age.legend(fontsize=8)
    save_plot(figure, "twenty")
    table(["", *cells], rows)
    write(bench, "twenty", {"orders": orders, "variants": figures})


def _smooth(values: np.ndarray, width: int = 5) -> np.ndarray:
    """Means over up to five neighbours."""
    return np.array([values[max(0, i - width // 2) : i + width // 2 + 1].mean() for i in range(len(values))])
