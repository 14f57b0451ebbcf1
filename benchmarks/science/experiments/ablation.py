"""Tables 1 and 2 and figure 5 of the paper: what the neurons and L_reg are good for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from bench import Bench
from matplotlib.figure import Figure
from paper_protocol import IMAGE_COUNTS, ORDINARY, SETS, multi_tests, ordinary_tests, single_tests, tokens_of
from report import mean_sd, save_grid, save_plot, table, write
from sequences import Scores, Sequence, load_states, measure, multi_of
from variants import BEYOND, PAPER, Variant

_SINGLE = {"concept": "concept", "rest": "rest", "clip_i": "CLIP-I", "clip_t": "CLIP-T"}
_MULTI = {"both": "all right", "clip_i": "CLIP-I", "clip_t": "CLIP-T"}
_KINDS = {"single": ("single", _SINGLE), "multi 2": ("double", _MULTI), "multi 3": ("triple", _MULTI)}


def single_of(result: dict) -> dict[str, float]:
    """Means over the concepts of a set, at its end."""
    scores = result["after"][-1]["concepts"].values()
    return {metric: float(np.mean([score[metric] for score in scores if metric in score])) for metric in _SINGLE}


def score_of(result: dict, kind: str, metric: str) -> float:
    if kind == "ordinary":
        return result["after"][-1]["ordinary"][metric]
    return single_of(result)[metric] if kind == "single" else result[kind][metric]


def compare(bench: Bench, name: str, variants: dict[str, Variant], every: bool = True) -> None:
    """One table: rows variants, columns metrics by number of concepts, and ordinary prompts; mean ± sd over seeds."""
    runs = bench.runs(variants, every=every)
    cells = [(kind, metric) for kind, (_, metrics) in _KINDS.items() for metric in metrics]
    cells += [("ordinary", "rest"), ("ordinary", "leak")]
    titles = [f"{metric}, {title}" for title, metrics in _KINDS.values() for metric in metrics.values()]
    head = ["", *titles, "ordinary prompts right", "with a concept not asked for"]
    everything = {"nothing taught": ("nothing taught", untaught(bench))}
    everything |= {key: (variants[key].title, seeds) for key, seeds in runs.items()}
    rows, figures = [], {}
    for key, (title, results) in everything.items():
        values = {f"{kind} {metric}": [score_of(result, kind, metric) for result in results] for kind, metric in cells}
        figures[key] = {"title": title, **values}
        rows.append([title, *map(mean_sd, values.values())])
    table(head, rows)
    write(name, {"seeds": bench.seeds, "variants": figures})


def untaught(bench: Bench) -> list[dict]:
    """For each seed the same tests with class nouns on the untaught model, in the form of :func:`sequences.run`'s results."""
    scores, lab, found = Scores(bench.lab.folder / f"untaught-{bench.lab.judges}.json"), bench.lab, []
    for seed in bench.seeds:
        names = bench.own(seed)
        tests = {name: (single_tests(name, tokens_of(names)), IMAGE_COUNTS[1]) for name in names}
        tests |= {"ordinary": (ordinary_tests(ORDINARY), 1)}
        tests |= {f"multi {n}": (some, IMAGE_COUNTS[n]) for n, some in multi_of(Sequence(PAPER["cns"], names, seed)).items()}
        measured = {
            what: scores.of(f"{seed} {what}", lambda what=what, seed=seed, tests=tests: measure(lab, None, *tests[what], seed))
            for what in tests
        }
        row = {"concepts": {name: measured.pop(name) for name in names}, "ordinary": measured.pop("ordinary")}
        found.append({"names": names, "after": [row], **measured})
    return found


def table1(bench: Bench) -> None:
    """CNS beside tuning all K/V and the token alone."""
    compare(bench, "table1", {key: PAPER[key] for key in ("cns", "full", "token")})


def table2(bench: Bench) -> None:
    """CNS, without L_reg, and with as many random neurons."""
    compare(bench, "table2", PAPER)
    multi_grid(bench, PAPER, "table2")


def fig5(bench: Bench) -> None:
    """The first concept's score after each concept, and ordinary prompts beside it; pictures of one set."""
    variants = PAPER | {"keep_concept": BEYOND["keep_concept"], "keep_full": BEYOND["keep_full"]}
    runs = bench.runs(variants)
    first = _curves(runs, lambda row, names: row["concepts"][names[0]]["concept"])
    alike = _curves(runs, lambda row, names: row["concepts"][names[0]]["clip_i"])
    ordinary = _curves(runs, lambda row, names: row["ordinary"]["rest"])
    start = [score_of(result, "ordinary", "rest") for result in untaught(bench)]
    ordinary = {key: np.column_stack([start, values]) for key, values in ordinary.items()}
    figure = Figure((13, 4), layout="constrained")
    for axes, curves, title in zip(
        figure.subplots(1, 3),
        (first, alike, ordinary),
        ("first concept is there", "first concept, CLIP-I", "ordinary prompts right"),
        strict=True,
    ):
        for key, values in curves.items():
            taught = np.arange(values.shape[1]) + (0 if curves is ordinary else 1)
            axes.errorbar(
                taught, values.mean(0), values.std(0, ddof=min(1, len(values) - 1)), label=variants[key].title, capsize=2
            )
        axes.set(title=title, xlabel="concepts taught")
    axes.legend(fontsize=8)
    save_plot(figure, "fig5")
    columns = range(1, len(SETS[0]) + 1)
    for title, curves in (("first concept is there, %", first), ("its CLIP-I", alike), ("ordinary prompts right, %", ordinary)):
        head = [f"{title}, after", *([0, *columns] if curves is ordinary else columns)]
        table(head, [[variants[key].title, *map(mean_sd, values.T)] for key, values in curves.items()])
    curves = {"first concept is there": first, "first concept clip_i": alike, "ordinary prompts right": ordinary}
    write("fig5", {title: {key: c.tolist() for key, c in part.items()} for title, part in curves.items()})
    for key in variants:
        _forgetting_grid(bench, variants[key], key)


def _curves(runs: dict[str, list[dict]], value: Callable[[dict, list[str]], float]) -> dict[str, np.ndarray]:
    """For each variant (seeds, concepts taught)."""
    return {
        key: np.array([[value(row, result["names"]) for row in result["after"]] for result in results])
        for key, results in runs.items()
    }


def _forgetting_grid(bench: Bench, variant: Variant, key: str) -> None:
    """Rows: the concepts of the first set; columns: after the first, second, … was taught. The same noise all along a row."""
    names = SETS[0]
    states = load_states(bench.lab, Sequence(variant, names, bench.seeds[0]))
    tests = [single_tests(name, tokens_of(names))[0] for name in names]
    columns = [bench.lab.pictures([test.prompt for test in tests], list(range(len(tests))), state) for state in states]
    lines = [[columns[taught][row] if taught >= row else None for taught in range(len(names))] for row in range(len(names))]
    save_grid(lines, [test.prompt for test in tests], [f"after {name}" for name in names], f"forgetting_{key}")


def multi_grid(bench: Bench, variants: dict[str, Variant], name: str) -> None:
    """Rows: variants after all seven concepts of the first set; columns: its prompts with two and three concepts."""
    tests = multi_tests(SETS[0], tokens_of(SETS[0]))
    lines = []
    for variant in variants.values():
        state = load_states(bench.lab, Sequence(variant, SETS[0], bench.seeds[0]))[-1]
        lines.append(bench.lab.pictures([test.prompt for test in tests], list(range(len(tests))), state))
    titles = [variant.title for variant in variants.values()]
    save_grid(lines, titles, [" + ".join(test.concepts) for test in tests], f"{name}_multi")
