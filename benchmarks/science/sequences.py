"""Teaches a sequence of concepts and measures after each one; states and scores are kept, so a broken-off run goes on."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cache, partial
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
from cns_core.drift import OFF
from cns_core.state import CNSState
from demo.judges.recognizer import shows, unasked
from demo.world.drawing import draw
from demo.world.new_concepts import EXTENDED_WORLD, NEW_CONCEPTS

Score = dict[str, float]


@dataclass(frozen=True)
class Sequence:
    """Concepts to teach in this order, one seed for pictures, training and the noise of the tests.

    After each concept it is measured, with ``every`` also the first one and the error on ordinary pictures; at the end all are,
    and pictures of ordinary prompts. ``multi``: measure prompts with two and three concepts at the end. ``scored`` off: only
    the states are wanted, and there is no result.
    """

    variant: Variant
    names: tuple[str, ...]
    seed: int
    every: bool = True
    multi: bool = True
    scored: bool = True

    @property
    def key(self) -> str:
        """What its states and its scores are found by."""
        order = hashlib.sha256("-".join(self.names).encode()).hexdigest()[:8]
        return f"{self.variant.digest()}-{order}-{self.seed}"

    def folder(self, lab: Lab) -> Path:
        return lab.folder / self.key

    def file(self, lab: Lab, count: int) -> Path:
        """Of the state after ``count`` concepts."""
        return self.folder(lab) / f"{count}.safetensors"


def scores_of(lab: Lab, sequence: Sequence) -> Scores:
    of = {"variant": sequence.variant.title, "concepts": sequence.names, "seed": sequence.seed}
    return lab.scores(sequence.key, of=of)


def run(lab: Lab, sequence: Sequence) -> dict:
    """``after``: for each number of concepts taught, scores of the concepts and of ordinary prompts, share of K/V used so far
    and by the new mask, and how far K and V of what is kept are from where they were. ``multi 2``, ``multi 3``: double and
    triple prompts at the end. Scores are means over pictures. A sequence whose scores are all there is not taught again.
    """
    folder, names, seed, count = sequence.folder(lab), sequence.names, sequence.seed, len(sequence.names)
    tokens, state = tokens_of(names), cache(partial(taught, lab, sequence))
    if not sequence.scored:
        state(count)
        return {}
    scores = scores_of(lab, sequence)

    def measured(what: str, after: int, tests: list[Test], copies: int) -> Score:
        return scores.of(what, lambda: measure(lab, state(after), names, tests, copies, seed, folder / f"{what}.npz"))

    def concept(after: int, name: str) -> Score:
        error = scores.of(f"{after} {name} error", lambda: error_of_concept(lab, state(after), name, tokens[name], seed))
        copies = IMAGE_COUNTS[1] if name == names[0] else LATER_IMAGES
        return measured(f"{after} {name}", after, single_tests(name, tokens, seed), copies) | error

    def ordinary(after: int) -> Score:
        error = scores.of(f"{after} ordinary error", lambda: error_of_ordinary(lab, state(after), seed))
        return error | (measured(f"{after} ordinary", after, ordinary_tests(ORDINARY, seed), 1) if after == count else {})

    result: dict = {"names": names, "seed": seed, "after": []}
    for after, name in enumerate(names, start=1):
        last = after == count
        shown = names if last else dict.fromkeys((names[0], name) if sequence.every else (name,))
        row = dict(scores.of(f"{after} weights", lambda after=after: _weights(state(after))))
        row["concepts"] = {n: concept(after, n) for n in shown}
        if last or sequence.every:
            row["ordinary"] = ordinary(after)
        result["after"].append(row)
    several = multi_tests(names, tokens, seed) if sequence.multi else []
    for amount in (2, 3):
        tests = [test for test in several if len(test.concepts) == amount]
        if tests:
            result[f"multi {amount}"] = measured(f"multi {amount}", count, tests, IMAGE_COUNTS[amount])
    return result


def _weights(state: CNSState) -> dict:
    concept = state.concepts[-1]
    return {"used": state.used_neurons().share, "mask": concept.mask.share, "moved": concept.figures.get(OFF, {})}


def taught(lab: Lab, sequence: Sequence, count: int) -> CNSState:
    """The state after ``count`` concepts; from its file where there is one, else taught after those before."""
    fuse = sequence.variant.how.fuse

    def lesson(number: int, before: CNSState | None) -> CNSState:
        name = sequence.names[number - 1]
        return lab.teach(before, name, tokens_of(sequence.names)[name], sequence.variant, sequence.seed)

    def made() -> CNSState:
        if fuse is None:
            return lesson(count, taught(lab, sequence, count - 1) if count > 1 else None)
        files = {number: sequence.folder(lab) / f"alone {number}.safetensors" for number in range(1, count + 1)}
        alone = [kept_state(file, partial(lesson, number, None)) for number, file in files.items()]
        return fused(lab.checkpoint, alone, fuse, calibration_prompts())

    return kept_state(sequence.file(lab, count), made)


def load_states(lab: Lab, sequence: Sequence) -> list[CNSState]:
    """States after each concept; those that have no file are taught."""
    return [taught(lab, sequence, count) for count in range(1, len(sequence.names) + 1)]


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
