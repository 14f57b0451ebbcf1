"""Which weights to train, and what to hold the earlier concepts with: seven concepts in a row."""

from __future__ import annotations

import numpy as np

from benchmarks.reporting import PAPERS_CNS
from benchmarks.science.bench import Bench, Order
from benchmarks.science.lab import Lab
from benchmarks.science.paper_protocol import ORDINARY, SETS, Test, multi_tests, ordinary_tests, tokens_of
from benchmarks.science.report import mean_sd, save_grid, table, write
from benchmarks.science.sequences import Sequence, error_of_ordinary, measure
from benchmarks.science.variants import KEPT, PAPER, Variant
from cns_core.state import CNSState

_TABLE_2 = {**PAPER, "keep_full": KEPT["keep_full"]}
_PAPERS = {  # its ablation (table 2), in the order of its table 1
    "cns": tuple(PAPERS_CNS.values()),
    "no_reg": (73.06, 74.65, 66.89, 77.02),
    "random": (73.15, 73.30, 65.05, 72.92),
}


def table2(bench: Bench) -> None:
    """The paper's ablation: CNS, without L_reg, with as many random neurons, all K/V, only the token; and ``keep``."""
    compare(bench, "table2", _TABLE_2, SETS)
    papers_figures(list(_PAPERS))
    multi_grid(bench, _TABLE_2, "table2")


def papers_figures(keys: list[str]) -> None:
    table(["the paper on SD 1.5", *PAPERS_CNS], [[PAPER[key].title, *_PAPERS[key]] for key in keys])


def recipe(bench: Bench) -> None:
    """Every mask with K and V kept to a tolerance, beside the paper's recipe and its ablations; seven concepts."""
    variants = {**PAPER, **KEPT}
    compare(bench, "recipe", variants, SETS)
    multi_grid(bench, variants, "recipe")


def ordinary_before(bench: Bench) -> list[dict[str, float]]:
    """Of each seed, scores of ordinary prompts on the untaught model."""
    lab, scores = bench.lab, bench.lab.scores("untaught")
    return [
        scores.of(f"{s} ordinary", lambda s=s: measure(lab, None, bench.own(s), ordinary_tests(ORDINARY, s), 1, s))
        | scores.of(f"{s} ordinary error", lambda s=s: error_of_ordinary(lab, None, s))
        for s in bench.seeds
    ]


def compare(bench: Bench, name: str, variants: dict[str, Variant], orders: tuple[Order, ...]) -> dict[str, list[dict]]:
    """Two tables, mean ± sd over seeds: what the recognizer counts in % of pictures, and the image-text model's similarities.
    For each variant the results of its seeds.
    """
    figures, runs = {}, bench.runs(variants, orders, every=False)
    rows: dict[str, list] = {"counted": [], "alike": []}
    before = np.array([scores["rest"] for scores in ordinary_before(bench)])
    for key, results in runs.items():
        new, end = new_and_end(results, "concept")
        ordinary = np.array([result["after"][-1]["ordinary"]["rest"] for result in results])
        counted = {
            "first one, new": new[:, 0],
            "all, new": new.mean(1),
            "first one, at the end": end[:, 0],
            "it lost": new[:, 0] - end[:, 0],
            "all, at the end": end.mean(1),
            "they lost": (new - end).mean(1),
            "two, and all else right": _several(results, 2, "both"),
            "three": _several(results, 3, "both"),
            "ordinary prompts right": ordinary,
            "they lost since untaught": before - ordinary,
            "K/V used": np.array([result["after"][-1]["used"] for result in results]),
        }
        one = [list(result["after"][-1]["concepts"].values()) for result in results]
        alike = {f"{metric}, one": np.array([[c[metric] for c in cs] for cs in one]).mean(1) for metric in ("clip_i", "clip_t")}
        alike |= {f"{m}, two": _several(results, 2, m) for m in ("clip_i", "clip_t")}
        for kind, cells in (("counted", counted), ("alike", alike)):
            rows[kind].append([variants[key].title, *map(mean_sd, cells.values())])
        figures[key] = {title: values.tolist() for title, values in (counted | alike).items()}
    table(["%", *counted], rows["counted"])
    table(["similarity × 100", *alike], rows["alike"])
    own = {key: variant.settings for key, variant in variants.items()}
    write(bench, name, {"orders": orders, "settings of its own": own, "variants": figures})
    return runs


def new_and_end(results: list[dict], metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Of each concept, just after its training and at the end: (results, concepts) each. ``concept``: how often it is there."""
    named = [(result["names"], result["after"]) for result in results]
    new = [[row["concepts"][name][metric] for name, row in zip(*one, strict=True)] for one in named]
    end = [[after[-1]["concepts"][name][metric] for name in names] for names, after in named]
    return np.array(new), np.array(end)


def _several(results: list[dict], amount: int, metric: str) -> np.ndarray:
    """NaN for a set without such prompts."""
    return np.array([result.get(f"multi {amount}", {}).get(metric, np.nan) for result in results])


def multi_grid(bench: Bench, variants: dict[str, Variant], name: str) -> None:
    """Each variant after all seven concepts of the first set: its prompts with two and three concepts."""
    seed, names = bench.seeds[0], bench.own(bench.seeds[0])
    sequences = {variant.title: Sequence(variant, names, seed) for variant in variants.values()}
    bench.teach(sequences.values())
    states = {title: bench.state(sequence) for title, sequence in sequences.items()}
    state_grid(bench.lab, states, names, multi_tests(names, tokens_of(names), seed), f"{name}_multi")


def state_grid(lab: Lab, states: dict[str, CNSState], names: Order, tests: list[Test], name: str) -> None:
    """Rows: states, of the first so many of ``names``. Columns: tests, on the same noise all down a column, left empty where a
    state does not know all of its concepts.
    """
    lines = []
    for state in states.values():
        known = names[: len(state.concepts)]
        shown = {number: test.prompt for number, test in enumerate(tests) if set(test.concepts) <= set(known)}
        drawn = dict(zip(shown, lab.pictures(list(shown.values()), list(shown), state), strict=True))
        lines.append([drawn.get(number) for number in range(len(tests))])
    save_grid(lines, list(states), [" + ".join(test.concepts) for test in tests], name)
