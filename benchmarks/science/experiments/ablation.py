"""Tables 1 and 2 and figure 5 of the paper: what the neurons and L_reg are good for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from benchmarks.science.bench import Bench
from benchmarks.science.paper_protocol import IMAGE_COUNTS, ORDINARY, SETS, multi_tests, ordinary_tests, single_tests, tokens_of
from benchmarks.science.report import mean_sd, save_grid, save_plot, sd, table, write
from benchmarks.science.sequences import Scores, Sequence, error_of_concept, error_of_ordinary, load_states, measure, multi_of
from benchmarks.science.variants import KEPT, PAPER, Variant

# By kind of prompt. "Right" is what the recognizer can tell: things, colours, background, style; not who is left of whom.
_METRICS = {
    ("single", "concept"): "concept is there",
    ("single", "rest"): "rest of its prompt right",
    ("single", "clip_i"): "CLIP-I",
    ("single", "clip_t"): "CLIP-T",
    ("multi 2", "both"): "two concepts, all right",
    ("multi 2", "clip_i"): "CLIP-I",
    ("multi 2", "clip_t"): "CLIP-T",
    ("multi 3", "both"): "three concepts, all right",
    ("ordinary", "rest"): "ordinary prompts right",
    ("ordinary", "leak"): "with a taught concept",
}
_ERRORS = {("single", "error"): "error on unseen pictures", ("ordinary", "error"): "error on ordinary pictures"}
# SD 1.5, real pictures, CLIP: CLIP-I and CLIP-T of one concept, of several (tables 1 and 2).
_PAPERS = {"cns": (74.88, 76.95, 67.21, 79.22), "no_reg": (73.06, 74.65, 66.89, 77.02), "random": (73.15, 73.30, 65.05, 72.92)}


def single_of(result: dict) -> dict[str, float]:
    """Means over the concepts of a set, at its end."""
    scores = result["after"][-1]["concepts"].values()
    names = [metric for kind, metric in (*_METRICS, *_ERRORS) if kind == "single"]
    return {metric: float(np.mean([score[metric] for score in scores if metric in score])) for metric in names}


def score_of(result: dict, kind: str, metric: str) -> float:
    if kind == "ordinary":
        return result["after"][-1]["ordinary"][metric]
    return single_of(result)[metric] if kind == "single" else result[kind][metric]


def compare(bench: Bench, name: str, variants: dict[str, Variant], every: bool = True) -> None:
    """Two tables, rows variants, columns metrics: mean ± sd over seeds, and the differences to the first variant, seed by seed:
    those leave out that one set of concepts is harder than another.
    """
    runs = bench.runs(variants, every=every)
    everything = {"nothing taught": ("nothing taught", untaught(bench))}
    everything |= {key: (variants[key].title, results) for key, results in runs.items()}
    cells = {**_METRICS, **_ERRORS}
    figures, values = {}, {}
    for key, (title, results) in everything.items():
        values[key] = {cell: np.array([score_of(result, *cell) for result in results]) for cell in cells}
        figures[key] = {"title": title} | {" ".join(cell): found.tolist() for cell, found in values[key].items()}
    table(["%", *cells.values()], [[everything[key][0], *map(_shown, found.items())] for key, found in values.items()])
    first, *others = variants
    differences = [
        [variants[key].title, *(_shown((cell, found - values[first][cell])) for cell, found in values[key].items())]
        for key in others
    ]
    table([f"difference to {variants[first].title}", *cells.values()], differences)
    papers = [[variants[key].title, *figures] for key, figures in _PAPERS.items() if key in variants]
    table(["the paper on SD 1.5", "CLIP-I, one", "CLIP-T, one", "CLIP-I, several", "CLIP-T, several"], papers)
    write(bench, name, {"variants": figures})


def _shown(cell: tuple[tuple[str, str], np.ndarray]) -> str:
    (_, metric), found = cell
    return mean_sd(found, 4, 1) if metric == "error" else mean_sd(found)


def untaught(bench: Bench) -> list[dict]:
    """For each seed the same tests with class nouns on the untaught model, in the form of :func:`sequences.run`'s results."""
    scores, lab, found = Scores(bench.lab.folder / f"untaught-{bench.lab.judges}.json"), bench.lab, []
    for seed in bench.seeds:
        names = bench.own(seed)
        tests = {name: (single_tests(name, tokens_of(names), seed), IMAGE_COUNTS[1]) for name in names}
        tests |= {"ordinary": (ordinary_tests(ORDINARY, seed), 1)}
        tests |= {f"multi {n}": (some, IMAGE_COUNTS[n]) for n, some in multi_of(Sequence(PAPER["cns"], names, seed)).items()}
        measured = {
            what: scores.of(
                f"{seed} {what}",
                lambda what=what, seed=seed, names=names, tests=tests: measure(lab, None, names, *tests[what], seed),
            )
            for what in tests
        }
        for name in names:
            measured[name] |= scores.of(
                f"{seed} {name} error", lambda name=name, seed=seed: error_of_concept(lab, None, name, "", seed)
            )
        measured["ordinary"] |= scores.of(f"{seed} ordinary error", lambda seed=seed: error_of_ordinary(lab, None, seed))
        row = {"concepts": {name: measured.pop(name) for name in names}, "ordinary": measured.pop("ordinary")}
        found.append({"names": names, "after": [row], **measured})
    return found


def table1(bench: Bench) -> None:
    """CNS beside tuning all K/V and only the token."""
    compare(bench, "table1", {key: PAPER[key] for key in ("cns", "full", "token")})


def table2(bench: Bench) -> None:
    """CNS, without L_reg, with as many random neurons, all K/V, only the token."""
    compare(bench, "table2", PAPER)
    multi_grid(bench, PAPER, "table2")


def fig5(bench: Bench) -> None:
    """The first concept's scores after each concept, and ordinary prompts beside it; pictures of one set."""
    variants = PAPER | {"keep_concept": KEPT["keep_concept"], "keep_full": KEPT["keep_full"]}
    runs = bench.runs(variants)
    start = {metric: [score_of(result, "ordinary", metric) for result in untaught(bench)] for metric in ("rest", "error")}
    curves = {
        "first concept is there": _curves(runs, lambda row, names: row["concepts"][names[0]]["concept"]),
        "its CLIP-I": _curves(runs, lambda row, names: row["concepts"][names[0]]["clip_i"]),
        "error on its unseen pictures": _curves(runs, lambda row, names: row["concepts"][names[0]]["error"]),
        "ordinary prompts right": _curves(runs, lambda row, _: row["ordinary"]["rest"], start["rest"]),
        "error on ordinary pictures": _curves(runs, lambda row, _: row["ordinary"]["error"], start["error"]),
    }
    figure = Figure((20, 4), layout="constrained")
    drawn = figure.subplots(1, len(curves))
    for axes, (title, of_variants) in zip(drawn, curves.items(), strict=True):
        for key, values in of_variants.items():
            taught = np.arange(values.shape[1]) + (0 if "ordinary" in title else 1)
            axes.errorbar(taught, values.mean(0), sd(values), label=variants[key].title, capsize=2)
        axes.set(title=title, xlabel="concepts taught")
        shown = partial(mean_sd, digits=4, scale=1) if "error" in title else mean_sd
        rows = [
            [variants[key].title, *map(shown, values.T), shown(values[:, -1] - values[:, 0])]
            for key, values in of_variants.items()
        ]
        table([f"{title}, after", *range(0 if "ordinary" in title else 1, len(SETS[0]) + 1), "change"], rows)
    drawn[0].legend(fontsize=8)
    save_plot(figure, "fig5")
    write(bench, "fig5", {title: {key: c.tolist() for key, c in part.items()} for title, part in curves.items()})
    for key in variants:
        _forgetting_grid(bench, variants[key], key)


def _curves(
    runs: dict[str, list[dict]], value: Callable[[dict, list[str]], float], start: list[float] | None = None
) -> dict[str, np.ndarray]:
    """For each variant (seeds, concepts taught); with ``start`` the untaught model's value of each seed in front."""
    curves = {
        key: np.array([[value(row, result["names"]) for row in result["after"]] for result in results])
        for key, results in runs.items()
    }
    return curves if start is None else {key: np.column_stack([start, values]) for key, values in curves.items()}


def _forgetting_grid(bench: Bench, variant: Variant, key: str) -> None:
    """Rows: the concepts of the first set; columns: after the first, second, … was taught. The same noise all along a row."""
    seed, names = bench.seeds[0], bench.own(bench.seeds[0])
    states = load_states(bench.lab, Sequence(variant, names, seed))
    tests = [single_tests(name, tokens_of(names), seed)[0] for name in names]
    columns = [bench.lab.pictures([test.prompt for test in tests], list(range(len(tests))), state) for state in states]
    lines = [[columns[taught][row] if taught >= row else None for taught in range(len(names))] for row in range(len(names))]
    save_grid(lines, [test.prompt for test in tests], [f"after {name}" for name in names], f"forgetting_{key}")


def multi_grid(bench: Bench, variants: dict[str, Variant], name: str) -> None:
    """Rows: variants after all seven concepts of the first set; columns: its prompts with two and three concepts."""
    seed, names = bench.seeds[0], bench.own(bench.seeds[0])
    tests, lines = multi_tests(names, tokens_of(names), seed), []
    for variant in variants.values():
        state = load_states(bench.lab, Sequence(variant, names, seed))[-1]
        lines.append(bench.lab.pictures([test.prompt for test in tests], list(range(len(tests))), state))
    titles = [variant.title for variant in variants.values()]
    save_grid(lines, titles, [" + ".join(test.concepts) for test in tests], f"{name}_multi")
