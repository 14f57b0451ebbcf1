"""One concept taken out of a state: how far it is gone, what that costs the others, against the trivial ways."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.kept import Scores
from benchmarks.science.bench import Bench
from benchmarks.science.lab import Lab
from benchmarks.science.paper_protocol import SETS, Test, calibration_prompts, ordinary_tests, single_tests, tokens_of
from benchmarks.science.report import mean_sd, save_grid, table, write
from benchmarks.science.sequences import Score, Sequence, load_states, measure
from benchmarks.science.variants import KEPT
from benchmarks.science.workers import run_all
from cns_core.comfy_adapter.checkpoint.conditioning import moment_of
from cns_core.comfy_adapter.checkpoint.tokens import with_tokens
from cns_core.comfy_adapter.remove import remove
from cns_core.history import with_strengths
from cns_core.kept_prompts import kept_prompts
from cns_core.masks import NeuronMask
from cns_core.removal import moved
from cns_core.state import CNSState

VARIANTS = {key: KEPT[key] for key in ("keep_full", "keep_base")}
_CONCEPTS, _REMOVED = 3, 0  # of so many concepts the first goes
_ORDINARY, _COPIES = 40, 4
_WAYS = ("token dropped", "own weights zeroed", "muted", "removed")
_SHOWN = 3  # pictures of a kind in the grid


def removal(bench: Bench) -> None:
    """The first of three concepts taken out: is it gone, with its token and with its class noun, and are the others there?"""
    orders = tuple(names[:_CONCEPTS] for names in SETS)
    results: dict[str, list[dict[str, Score]]] = {}
    for key, variant in VARIANTS.items():
        sequences = [Sequence(variant, bench.own(seed, orders), seed, scored=False) for seed in bench.seeds]
        run_all(sequences, bench.workers)
        results[key] = [_results(bench.lab, sequence) for sequence in sequences]
        rows = [
            [way, *(mean_sd([result[way][name] for result in results[key]]) for name in _COLUMNS)] for way in results[key][0]
        ]
        print(f"\n{variant.title}")
        table(["", *_COLUMNS.values()], rows)
    _grid(bench, orders)
    write(bench, "removal", {"concepts": orders, "variants": results})


_COLUMNS = {
    "token": "drawn with its token, %",
    "token clip_i": "CLIP-I with its token",
    "noun": "drawn for its class noun, %",
    "noun distance": "pixels off the plain model's for the class noun, %",
    "others": "the others drawn, %",
    "others clip_i": "their CLIP-I",
    "ordinary": "ordinary prompts right, %",
    "left": "K/V of its prompts off the checkpoint's, %",
    "others moved": "K/V of the others' prompts moved, %",
}


def _results(lab: Lab, sequence: Sequence) -> dict[str, Score]:
    folder, state = sequence.folder(lab), load_states(lab, sequence)[-1]
    scores = Scores(folder / f"removal-{lab.judges}.json")
    found = {"plain model": scores.of("plain model", lambda: _measured(lab, sequence, None, folder / "removal plain model"))}
    for way in _WAYS:
        found[way] = scores.of(
            way, lambda way=way: _measured(lab, sequence, _taken_out(lab, state, way), folder / f"removal {way}")
        )
    return found


def _taken_out(lab: Lab, state: CNSState, way: str) -> CNSState:
    """The state without the concept; its token is still understood, so that what is left of it can be asked for."""
    concept = state.concepts[_REMOVED]
    if way == "token dropped":
        return state
    if way == "own weights zeroed":
        return replace(state.without_history(), delta=state.delta.updated(concept.mask, torch.zeros(concept.mask.count)))
    if way == "muted":
        return with_strengths(state, {concept.token: 0.0})
    with torch.inference_mode():
        removed, lines = remove(lab.checkpoint, state, concept.token, calibration_prompts(), None)
    print(*lines, sep="\n")
    ghost = replace(concept, mask=NeuronMask.empty(state.layout), before=None)
    return replace(removed.without_history(), concepts=(*removed.concepts, ghost))


@torch.inference_mode()
def _measured(lab: Lab, sequence: Sequence, state: CNSState | None, folder: Path) -> Score:
    names, seed, taught = sequence.names, sequence.seed, load_states(lab, sequence)[-1]
    tokens, gone = tokens_of(names), names[_REMOVED]
    own = single_tests(gone, tokens, seed)
    by_noun = [replace(test, prompt=test.plain) for test in own]

    def drawn(what: str, tests: list[Test], copies: int = _COPIES) -> Score:
        return measure(lab, state, names, tests, copies, seed, folder / f"{what}.npz")

    weights = {name: weight.float() for name, weight in lab.checkpoint.weights.items()}
    known, flat = with_tokens(lab.checkpoint.clip, taught.tokens), torch.zeros(taught.layout.size)
    delta, before = state.delta.flat() if state else flat, taught.delta.flat()
    moments = {learned.token: moment_of(known, kept_prompts(learned)) for learned in taught.concepts}
    own_token, asked = tokens[gone], drawn("token", own)
    others = [drawn(name, single_tests(name, tokens, seed)) for name in names if name != gone]
    return {
        "token": asked["concept"],
        "token clip_i": asked["clip_i"],
        "noun": drawn("noun", by_noun)["concept"],
        "noun distance": _distance(folder),
        "others": float(np.mean([score["concept"] for score in others])),
        "others clip_i": float(np.mean([score["clip_i"] for score in others])),
        "ordinary": drawn("ordinary", ordinary_tests(_ORDINARY, seed), 1)["rest"],
        "left": moved(delta, weights, moments[own_token]),
        "others moved": max(moved(delta - before, weights, m) for token, m in moments.items() if token != own_token),
    }


def _distance(folder: Path) -> float:
    """Root mean square difference, in parts of white, to what the plain model draws for the class noun from the same noise."""
    ours, plain = (_pictures(place) for place in (folder, folder.parent / "removal plain model"))
    return float(np.sqrt(np.mean((ours.astype(float) - plain) ** 2)) / 255)


def _pictures(folder: Path, what: str = "noun") -> np.ndarray:
    with np.load(folder / f"{what}.npz") as archive:
        return archive["drawn"]


def _grid(bench: Bench, orders: tuple[tuple[str, ...], ...]) -> None:
    """Pictures with the token and for the class noun, the plain model's beside them, of the first seed."""
    seed, (key, variant) = bench.seeds[0], next(iter(VARIANTS.items()))
    folder = Sequence(variant, bench.own(seed, orders), seed).folder(bench.lab)
    pictures, rows = [], ["plain model", *_WAYS]
    for way in rows:
        line = []
        for what in ("token", "noun"):
            line += list(_pictures(folder / f"removal {way}", what)[::_COPIES][:_SHOWN])
        pictures.append(line)
    columns = ["with its token"] * _SHOWN + ["class noun"] * _SHOWN
    save_grid(pictures, rows, columns, f"removal_{key}")
