"""One concept taken out of a state: how far it is gone, what that costs the others, against the trivial ways."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch

from benchmarks.science.bench import Bench
from benchmarks.science.paper_protocol import SETS, Test, calibration_prompts, ordinary_tests, single_tests, tokens_of
from benchmarks.science.report import save_grid, table_of, write
from benchmarks.science.sequences import Score, Sequence, measure, pictures_of
from benchmarks.science.variants import KEPT
from cns_core.comfy_adapter.checkpoint.conditioning import moment_of
from cns_core.comfy_adapter.checkpoint.tokens import with_tokens
from cns_core.comfy_adapter.remove import remove
from cns_core.history import with_strengths
from cns_core.kept_prompts import kept_prompts
from cns_core.masks import NeuronMask
from cns_core.removal import moved
from cns_core.state import CNSState

VARIANTS = {key: KEPT[key] for key in ("keep_full", "keep_base")}
_ORDERS = tuple(names[:3] for names in SETS)  # of three concepts the first goes
_ORDINARY, _COPIES = 40, 4
_WAYS = ("plain model", "token dropped", "own weights zeroed", "muted", "removed")
_SHOWN = 3  # pictures of a kind in the grid
_HEAD = (  # as _measured has them
    "drawn with its token, %",
    "drawn for its class noun, %",
    "the others drawn, %",
    "ordinary prompts right, %",
    "K/V of its prompts off the checkpoint's, %",
    "K/V of the others' prompts moved, %",
)


def removal(bench: Bench) -> None:
    """The first of three concepts taken out: is it gone, with its token and with its class noun, and are the others there?"""
    results: dict[str, dict[str, dict[str, list[float]]]] = {}
    for key, variant in VARIANTS.items():
        sequences = [Sequence(variant, bench.own(seed, _ORDERS), seed) for seed in bench.seeds]
        results[key] = {way: bench.measured(sequences, f"removal, {way}", partial(_measured, bench, way)) for way in _WAYS}
        print(f"\n{variant.title}")
        table_of(["", *_HEAD], results[key])
    sequence = Sequence(VARIANTS["keep_full"], bench.own(bench.seeds[0], _ORDERS), bench.seeds[0])
    lines = [_shown(bench, way, sequence) for way in _WAYS]
    save_grid(lines, _WAYS, ["with its token"] * _SHOWN + ["class noun"] * _SHOWN, "removal_keep_full")
    write(bench, "removal", {"concepts": _ORDERS, "variants": results})


def _without(bench: Bench, way: str, sequence: Sequence) -> CNSState | None:
    """The state without the concept; its token is still understood, so that what is left of it can be asked for."""
    state = bench.state(sequence)
    concept = state.concepts[0]
    if way == "plain model":
        return None
    if way == "token dropped":
        return state
    if way == "own weights zeroed":
        return replace(state.without_history(), delta=state.delta.updated(concept.mask, torch.zeros(concept.mask.count)))
    if way == "muted":
        return with_strengths(state, {concept.token: 0.0})
    removed, _ = remove(bench.lab.checkpoint, state, concept.token, calibration_prompts(), None)
    ghost = replace(concept, mask=NeuronMask.empty(state.layout), before=None)
    return replace(removed.without_history(), concepts=(*removed.concepts, ghost))


def _own(sequence: Sequence) -> tuple[list[Test], list[Test]]:
    """Prompts with its token, and with its class noun."""
    tests = single_tests(sequence.names[0], tokens_of(sequence.names), sequence.seed)
    return tests, [replace(test, prompt=test.plain) for test in tests]


@torch.inference_mode()
def _measured(bench: Bench, way: str, sequence: Sequence) -> Score:
    lab, names, seed = bench.lab, sequence.names, sequence.seed
    state, taught, tokens = _without(bench, way, sequence), bench.state(sequence), tokens_of(names)

    def drawn(tests: list[Test], copies: int = _COPIES) -> Score:
        return measure(lab, state, names, tests, copies, seed)

    weights = {name: weight.float() for name, weight in lab.checkpoint.weights.items()}
    known, before = with_tokens(lab.checkpoint.clip, taught.tokens), taught.delta.flat()
    delta = state.delta.flat() if state else torch.zeros_like(before)
    own, *others = (moment_of(known, kept_prompts(learned)) for learned in taught.concepts)
    by_token, by_noun = (drawn(tests)["concept"] for tests in _own(sequence))
    return {
        "token": by_token,
        "noun": by_noun,
        "others": float(np.mean([drawn(single_tests(name, tokens, seed))["concept"] for name in names[1:]])),
        "ordinary": drawn(ordinary_tests(_ORDINARY, seed), 1)["rest"],
        "left": moved(delta, weights, own),
        "others moved": max(moved(delta - before, weights, moment) for moment in others),
    }


@torch.inference_mode()
def _shown(bench: Bench, way: str, sequence: Sequence) -> list[np.ndarray]:
    state = _without(bench, way, sequence)
    return [picture for tests in _own(sequence) for picture in pictures_of(bench.lab, state, tests[:_SHOWN], 1, sequence.seed)]
