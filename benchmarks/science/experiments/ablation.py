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


def scores_of(seed_results: list[dict], kind: str, metric: str) -> float:
    """Mean over the sets that have such prompts."""
    if kind == "ordinary":
        return float(np.mean([r["after"][-1]["ordinary"][metric] for r in seed_results]))
    if kind == "single":
        return float(np.mean([single_of(r)[metric] for r in seed_results]))
    return float(np.mean([r[kind][metric] for r in seed_results if kind in r]))


def compare(
    bench: Bench, name: str, variants: dict[str, Variant], every: bool = True, paired: bool = False
) -> dict[str, list[list[dict]]]:
    """One table: rows variants, columns metrics by number of concepts, and ordinary prompts; mean ± sd over seeds."""
    runs = bench.runs(variants, every=every, paired=paired)
    cells = [(kind, metric) for kind, (_, metrics) in _KINDS.items() for metric in metrics]
    cells += [("ordinary", "rest"), ("ordinary", "leak")]
    titles = [f"{metric}, {title}" for title, metrics in _KINDS.values() for metric in metrics.values()]
    head = ["", *titles, "ordinary prompts right", "with a concept not asked for"]
    everything = {"nothing taught": ("nothing taught", untaught(bench, paired))}
    everything |= {key: (variants[key].title, seeds) for key, seeds in runs.items()}
    rows, figures = [], {}
    for key, (title, seeds) in everything.items():
        values = {f"{kind} {metric}": [scores_of(seed, kind, metric) for seed in seeds] for kind, metric in cells}
        figures[key] = {"title": title, **values}
        rows.append([title, *map(mean_sd, values.values())])
    table(head, rows)
    write(name, {"seeds": bench.seeds, "variants": figures})
    return runs


def untaught(bench: Bench, paired: bool) -> list[list[dict]]:
    """The same tests with class nouns on the untaught model, in the form of :func:`sequences.run`'s results."""
    scores, lab, found = Scores(bench.lab.folder / f"untaught-{bench.lab.judges}.json"), bench.lab, []
    for place, seed in enumerate(bench.seeds):
        found.append([])
        for names in [SETS[place % len(SETS)]] if paired else SETS:
            tokens = tokens_of(names)
            singles = {
                name: scores.of(
                    f"{seed} {name}",
                    lambda name=name, seed=seed, tokens=tokens: measure(
                        lab, None, single_tests(name, tokens), IMAGE_COUNTS[1], seed
                    ),
                )
                for name in names
            }
            ordinary = scores.of(f"{seed} ordinary", lambda seed=seed: measure(lab, None, ordinary_tests(ORDINARY), 1, seed))
            result: dict = {"names": names, "after": [{"concepts": singles, "ordinary": ordinary}]}
            for amount, tests in multi_of(Sequence(PAPER["cns"], names, seed)).items():
                result[f"multi {amount}"] = scores.of(
                    f"{seed} {'-'.join(names)} {amount}",
                    lambda tests=tests, amount=amount, seed=seed: measure(lab, None, tests, IMAGE_COUNTS[amount], seed),
                )
            found[-1].append(result)
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
    start = [np.mean([scores_of([r], "ordinary", "rest") for r in seed]) for seed in untaught(bench, False)]
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


def _curves(runs: dict[str, list[list[dict]]], value: Callable[[dict, list[str]], float]) -> dict[str, np.ndarray]:
    """For each variant (seeds, concepts taught), means over the sets."""
    return {
        key: np.array([np.mean([[value(row, r["names"]) for row in r["after"]] for r in seed], axis=0) for seed in seeds])
        for key, seeds in runs.items()
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
