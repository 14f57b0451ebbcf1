"""One setting at a time, the paper's value among them: what justifies the defaults."""

from __future__ import annotations

from dataclasses import replace
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from benchmarks.science.bench import Bench, Order
from benchmarks.science.paper_protocol import SETS
from benchmarks.science.report import mean_sd, save_plot, sd, table, write
from benchmarks.science.selections import FROM_LESS
from benchmarks.science.variants import KEPT, PAPER, TABLE_1, Variant

from .tables import new_and_end

Value = float | str
_SHORT = tuple(names[:-3:-1] for names in SETS)  # the last two concepts of each set, from the last one on
_CNS, _KEPT = PAPER["cns"], KEPT["keep_concept"]
_HELD = _CNS.changed("prev_weight 0.01", prev_weight=0.01)  # where λ_prev is found, λ_pre is found as well
_IN_USE = {variant.digest() for variant in (_KEPT, *TABLE_1.values())}


def _settings(variant: Variant, name: str, values: tuple[float, ...]) -> dict[Value, Variant]:
    return {value: variant.changed(f"{name} {value:g}", **{name: value}) for value in values}


_SWEEPS: dict[str, dict[Value, Variant]] = {
    "prev_weight": {"found by itself": _CNS, **_settings(_CNS, "prev_weight", (0.0, 1e-5, 0.01, 0.1, 1.0))},
    "pretrained_weight": {"found by itself": _CNS, **_settings(_HELD, "pretrained_weight", (0.0, 0.001, 0.01))},
    "prior_weight": _settings(_CNS, "prior_weight", (0.0, 0.3, 1.0)),
    "token_lr": _settings(_CNS, "token_lr", (0.0, 0.009, 0.03, 0.09)),
    "steps": _settings(_CNS, "steps", (50, 100, 200, 400)),
    "top_percent": {100 * r: replace(_CNS, title=f"{r:.0%}", top_fraction=r) for r in (0.15, 0.3, 0.5)},
    "K": {k: replace(_CNS, title=f"K {k}", calibration_count=k) for k in (5, 20, 100)},
    "neurons from": {"all tokens of all captions": _KEPT, **{n: replace(_KEPT, title=n, selection=n) for n in FROM_LESS}},
    "keep_tolerance": _settings(_KEPT, "keep_tolerance", (0.5, 1.0, 2.0, 4.0, 8.0)),
    "keep_tolerance of all K/V": _settings(KEPT["keep_full"], "keep_tolerance", (0.5, 1.0, 2.0, 4.0, 8.0)),
}
_FURTHER = {"custom_diffusion": (0.0001, 0.0003), "custom_diffusion_merged": (0.0003,), "cns": (0.03,), "scns": (0.03,)}
_RATES = {
    f"{key}: neuron_lr": _settings(variant, "neuron_lr", tuple(sorted((0.001, 0.003, 0.01, *_FURTHER.get(key, ())))))
    for key, variant in TABLE_1.items()
    if variant.config(0).neuron_lr
}
_RATES["textual_inversion: token_lr"] = _settings(TABLE_1["textual_inversion"], "token_lr", (0.003, 0.009, 0.03, 0.09))


def sweeps(bench: Bench) -> None:
    """Two concepts of a set, one setting changed at a time, on pictures, prompts and noise that no table is made of."""
    bench = bench.validating()
    write(bench, "sweeps", {"sweeps": sweep(bench, "sweeps", _SWEEPS, _SHORT)})


def rates(bench: Bench) -> None:
    """The learning rate of each method of Table 1, found as in ``sweeps``."""
    bench = bench.validating()
    write(bench, "rates", {"sweeps": sweep(bench, "rates", _RATES, _SHORT)})


def sweep(bench: Bench, name: str, settings: dict[str, dict[Value, Variant]], orders: tuple[Order, ...]) -> dict[str, dict]:
    """A table and a plot for each setting: what its values do to the concepts of an order, taught one after the other. In
    parentheses the difference from the value in use, on the same concepts and noise. The figures.
    """
    lines = -(-len(settings) // 2)
    figure = Figure((13, 4 * lines), layout="constrained")
    drawn = figure.subplots(lines, 2).ravel()
    everything = {}
    for axes, (setting, variants) in zip(drawn, settings.items(), strict=False):
        keyed = {_shown(value): variant for value, variant in variants.items()}
        points = [_curves(results) for results in bench.runs(keyed, orders, every=False, multi=False).values()]
        curves = {title: np.array([point[title] for point in points]) for title in points[0]}
        for title, values in curves.items():
            axes.errorbar(range(len(values)), values.mean(1), sd(values, 1), marker="o", capsize=2, label=title)
        axes.set_xticks(range(len(variants)), [fill(value, 14) for value in keyed])
        axes.set(title=setting, ylim=(0, 1.05))
        everything[setting] = {"values": list(variants), **{title: values.tolist() for title, values in curves.items()}}
        usual = next((i for i, variant in enumerate(variants.values()) if variant.digest() in _IN_USE), None)
        rows = [[value, *(_cell(values, i, usual) for values in curves.values())] for i, value in enumerate(keyed)]
        table([setting, *(f"{title}, %" for title in curves)], rows)
    drawn[0].legend()
    for axes in drawn[len(settings) :]:
        axes.remove()
    save_plot(figure, name)
    return everything


def _cell(values: np.ndarray, row: int, usual: int | None) -> str:
    """``values`` (rows, seeds)."""
    against = "" if usual in (None, row) else f" ({mean_sd(values[row] - values[usual])})"
    return mean_sd(values[row]) + against


def _shown(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _curves(results: list[dict]) -> dict[str, np.ndarray]:
    """What becomes of the concepts of each seed, and of ordinary prompts: shares."""
    (new, end), last = new_and_end(results, "concept"), [result["after"][-1] for result in results]
    rest = [[concept["rest"] for concept in row["concepts"].values() if "rest" in concept] for row in last]
    return {
        "there when new": new.mean(1),
        **({"there at the end": end.mean(1)} if new.shape[1] > 1 else {}),
        "rest of their prompts": np.array([np.mean(values) for values in rest]),
        "ordinary prompts": np.array([row["ordinary"]["rest"] for row in last]),
    }
