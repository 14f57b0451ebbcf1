"""Teaches a sequence of concepts and measures after each one; states and scores are kept, so a broken-off run goes on."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.baselines.fusion import fused
from benchmarks.kept import Scores, kept, kept_state
from benchmarks.science.lab import Lab
from benchmarks.science.paper_protocol import (
    IMAGE_COUNTS,
    LATER_IMAGES,
    ORDINARY,
    UNSEEN,
    Test,
    calibration_prompts,
    multi_tests,
    noise_seed,
    ordinary_tests,
    single_tests,
    tokens_of,
    unseen,
)
from benchmarks.science.variants import Variant
from cns_core.state import CNSState
from cns_core.state_file import load_state
from demo.judges.recognizer import shows, unasked
from demo.world.drawing import draw
from demo.world.new_concepts import EXTENDED_WORLD, NEW_CONCEPTS

Score = dict[str, float]


@dataclass(frozen=True)
class Sequence:
    """Concepts to teach in this order, one seed for pictures, training and the noise of the tests.

    After each concept it is measured, with ``every`` also the first one and the error on ordinary pictures; at the end all are,
    and pictures of ordinary prompts.
    ``multi``: measure prompts with two and three concepts at the end. ``scored`` off: only the states are wanted.
    """

    variant: Variant
    names: tuple[str, ...]
    seed: int
    every: bool = True
    multi: bool = True
    scored: bool = True

    def folder(self, lab: Lab) -> Path:
        order = hashlib.sha256("-".join(self.names).encode()).hexdigest()[:8]
        return lab.folder / f"{self.variant.digest()}-{order}-{self.seed}"


def run(lab: Lab, sequence: Sequence) -> dict:
    """``after``: for each number of concepts taught, scores of the concepts and of ordinary prompts, share of K/V used so far
    and by the new mask. ``multi 2``, ``multi 3``: double and triple prompts at the end. Scores are means over pictures.
    """
    folder, names, seed = sequence.folder(lab), sequence.names, sequence.seed
    tokens, scores = tokens_of(names), Scores(folder / f"scores-{lab.judges}.json")
    state: CNSState | None = None

    def measured(what: str, tests: list[Test], copies: int) -> Score:
        return scores.of(what, lambda: measure(lab, state, names, tests, copies, seed, folder / f"{what}.npz"))

    def concept(after: int, name: str) -> Score:
        error = scores.of(f"{after} {name} error", lambda: error_of_concept(lab, state, name, tokens[name], seed))
        copies = IMAGE_COUNTS[1] if name == names[0] else LATER_IMAGES
        return measured(f"{after} {name}", single_tests(name, tokens, seed), copies) | error

    def ordinary(after: int) -> Score:
        error = scores.of(f"{after} ordinary error", lambda: error_of_ordinary(lab, state, seed))
        return error | (measured(f"{after} ordinary", ordinary_tests(ORDINARY, seed), 1) if after == len(names) else {})

    result: dict = {"names": names, "seed": seed, "after": []}
    for count, name in enumerate(names, start=1):
        state = taught(lab, sequence, state, count, folder)
        last = count == len(names)
        shown = names if last else dict.fromkeys((names[0], name) if sequence.every else (name,))
        shown = shown if sequence.scored else ()
        row: dict = {"used": state.used_neurons().share, "mask": state.concepts[-1].mask.share}
        row["concepts"] = {n: concept(count, n) for n in shown}
        if sequence.scored and (last or sequence.every):
            row["ordinary"] = ordinary(count)
        result["after"].append(row)
    for amount, tests in multi_of(sequence).items() if sequence.multi and sequence.scored else ():
        if tests:
            result[f"multi {amount}"] = measured(f"multi {amount}", tests, IMAGE_COUNTS[amount])
    return result


def multi_of(sequence: Sequence) -> dict[int, list[Test]]:
    tests = multi_tests(sequence.names, tokens_of(sequence.names), sequence.seed)
    return {amount: [test for test in tests if len(test.concepts) == amount] for amount in (2, 3)}


def taught(lab: Lab, sequence: Sequence, state: CNSState | None, count: int, folder: Path) -> CNSState:
    """The state after ``count`` concepts, from its file where there is one."""
    fuse = sequence.variant.how.fuse
    if fuse is None:
        return _lesson(lab, sequence, state, count, folder / f"{count}.safetensors")
    alone = [_lesson(lab, sequence, None, number, folder / f"alone {number}.safetensors") for number in range(1, count + 1)]
    return kept_state(folder / f"{count}.safetensors", lambda: fused(lab.checkpoint, alone, fuse, calibration_prompts()))


def _lesson(lab: Lab, sequence: Sequence, state: CNSState | None, number: int, file: Path) -> CNSState:
    name = sequence.names[number - 1]
    token = tokens_of(sequence.names)[name]
    return kept_state(file, lambda: lab.teach(state, name, token, sequence.variant, sequence.seed))


def load_states(lab: Lab, sequence: Sequence) -> list[CNSState]:
    """States after each concept of a sequence that was run."""
    folder = sequence.folder(lab)
    return [load_state(folder / f"{count}.safetensors") for count in range(1, len(sequence.names) + 1)]


def error_of_concept(lab: Lab, state: CNSState | None, name: str, token: str, seed: int) -> Score:
    """``error``: of the noise prediction on pictures of the concept it was not taught with."""
    pictures, captions = unseen(name, NEW_CONCEPTS[name].words(token if state else ""), seed)
    return {"error": lab.error(pictures, captions, state)}


def error_of_ordinary(lab: Lab, state: CNSState | None, seed: int) -> Score:
    """``error``: of the noise prediction on ordinary pictures."""
    rng, tests = random.Random(f"unseen {seed}"), ordinary_tests(UNSEEN, seed)
    pictures = np.stack([np.array(draw(test.scene, rng, EXTENDED_WORLD)) for test in tests])
    return {"error": lab.error(pictures, [test.prompt for test in tests], state)}


def pictures_of(
    lab: Lab, state: CNSState | None, tests: list[Test], copies: int, seed: int, file: Path | None = None
) -> np.ndarray:
    """``copies`` of each test, uint8 (tests · copies, 128, 128, 3), on the same noise whatever is taught; kept in ``file``.

    Without a state the prompts have class nouns in place of tokens.
    """
    prompts = [test.prompt if state else test.plain for test in tests for _ in range(copies)]
    seeds = [noise_seed(seed, number, copy) for number in range(len(tests)) for copy in range(copies)]
    if file is None:
        return lab.pictures(prompts, seeds, state)
    return kept(file, lambda: lab.pictures(prompts, seeds, state))


def measure(
    lab: Lab,
    state: CNSState | None,
    names: tuple[str, ...],
    tests: list[Test],
    copies: int,
    seed: int,
    file: Path | None = None,
) -> Score:
    """Means over :func:`pictures_of`. Of the recognizer: ``concept`` (all asked concepts are there), ``rest`` (the other
    things, colours, background and style asked for are, of the tests that ask for any), ``both``, ``leak`` (one of the concepts
    ``names`` is there that was not asked for). ``clip_t`` to the prompt without tokens, ``clip_i`` to the teaching pictures.
    """
    pictures = pictures_of(lab, state, tests, copies, seed, file)
    recognition, seen = lab.recognizer.recognize(pictures), lab.image_text.of_pictures(pictures)
    said = lab.image_text.of_sentences([test.plain for test in tests])
    scores: dict[str, list[float]] = {"concept": [], "rest": [], "both": [], "leak": [], "clip_t": [], "clip_i": []}
    for number, test in enumerate(tests):
        rows = slice(number * copies, (number + 1) * copies)
        concept, rest = shows(recognition[rows], test.scene)
        if test.concepts:
            scores["concept"] += concept.tolist()
        if test.asks_for_more:
            scores["rest"] += rest.tolist()
        scores["both"] += (concept & rest).tolist()
        scores["leak"] += unasked(recognition[rows], test.scene, names).tolist()
        scores["clip_t"] += (seen[rows] @ said[number]).tolist()
        if test.concepts:
            alike = [(seen[rows] @ lab.teaching_features(name, seed).T).mean(1) for name in test.concepts]
            scores["clip_i"] += torch.stack(alike).mean(0).tolist()
    return {name: float(np.mean(values)) for name, values in scores.items() if values}
