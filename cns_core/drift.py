"""How far K and V of concepts are from where they were when they were taught, as later trainings and removals found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .history import recorded, steps_back
from .state import CNSState, LearnedConcept

# In a concept's figures: how far others are after its training; and since which number of concepts it is measured itself, with
# how far it was then, where a removal has moved it.
OFF, MEASURED_FROM = "off", "measured_from"


def drift(state: CNSState) -> dict[str, float]:
    """Token -> by which share of their size K and V of its prompts are, at most, from where they were when it was taught.
    Left out: concepts after which nothing was taught or removed, and those that the last training did not measure.
    """
    found = {}
    for number, concept in enumerate(state.concepts):
        share = _off(state, number)
        if share is not None and (number + 1 < len(state.concepts) or MEASURED_FROM in concept.figures):
            found[concept.token] = share
    return found


def _off(state: CNSState, number: int) -> float | None:
    concept = state.concepts[number]
    start, before = concept.figures.get(MEASURED_FROM, (0, 0.0))
    later = state.concepts[max(number + 1, start) :]
    since = later[-1].figures.get(OFF, {}).get(concept.name) if later else 0.0
    return None if before is None or since is None else before + since


def measured(state: CNSState) -> list[bool]:
    """For each concept whether it is known what the weights changed by since it is measured."""
    known, start = recorded(state), _start(state)
    return [all(known[max(number + 1, start) :]) for number in range(len(known))]


def changes_since_taught(state: CNSState) -> Iterator[tuple[LearnedConcept, Tensor]]:
    """From the last concept to the first, those that are :func:`measured`: it, and what the weights changed by since then,
    float32 (layout.size,): one tensor that goes on changing, so use it before the next.
    """
    steps, change, start, known = steps_back(state), torch.zeros(state.layout.size), _start(state), measured(state)
    for number in reversed(range(len(known))):
        if not known[number]:
            return  # nor is what comes before it
        yield state.concepts[number], change
        if number >= start and any(known[:number]):
            concept, after, before = next(steps)
            change[concept.mask.indices] += after - before


def _start(state: CNSState) -> int:
    """So many concepts the state had after the last removal: what came before is not undone to measure what came since."""
    return max((concept.figures.get(MEASURED_FROM, (0,))[0] for concept in state.concepts), default=0)


def undoable(state: CNSState, index: int) -> bool:
    """Whether concept number ``index`` is the last one, and the state records what it was taught on: not where another one was
    removed since.
    """
    return index == len(state.concepts) - 1 and recorded(state)[-1] and _start(state) <= index


def with_removal(state: CNSState, before: CNSState, moved: Sequence[float]) -> CNSState:
    """``state``, which a removal made of ``before``, moving K and V of each remaining concept's prompts by ``moved``."""
    shares = {concept.token: _off(before, number) for number, concept in enumerate(before.concepts)}
    concepts = []
    for concept, share in zip(state.concepts, moved, strict=True):
        known = shares[concept.token]
        start = [len(state.concepts), None if known is None else known + share]
        concepts.append(replace(concept, figures=concept.figures | {MEASURED_FROM: start}))
    return replace(state, concepts=tuple(concepts))
