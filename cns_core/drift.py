"""How far K and V of a state's concepts have moved since they were taught, as their trainings and removals measured it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .state import CNSState, LearnedConcept

# In a concept's figures: what its training moved others by, and a list of what moved it later and is in no training's figures.
MOVED, MOVED_BY_REMOVALS = "moved", "moved_by_removals"


def drift(state: CNSState) -> dict[str, float]:
    """Token -> by which share of their size K and V of its prompts have moved since it was taught, at most: the sum of what
    later trainings and removals moved them by. Concepts that one of these did not measure are left out, and those without any.
    """
    sums: dict[str, float] = {}
    for number, concept in enumerate(state.concepts):
        moves = [other.figures.get(MOVED, {}).get(concept.name) for other in state.concepts[number + 1 :]]
        moves += concept.figures.get(MOVED_BY_REMOVALS, [])
        if moves and None not in moves:
            sums[concept.token] = sum(moves)
    return sums


def with_removal(state: CNSState, removed: LearnedConcept, index: int, moved: Sequence[float]) -> CNSState:
    """The state after ``removed``, its concept number ``index``, was taken out, which moved K and V of each other concept's
    prompts by ``moved``; what the removed one's own training had moved stays in the sum.
    """
    by_training = removed.figures.get(MOVED, {})
    concepts = []
    for number, (concept, share) in enumerate(zip(state.concepts, moved, strict=True)):
        more = [by_training.get(concept.name), share] if number < index else [share]
        known = concept.figures.get(MOVED_BY_REMOVALS, [])
        concepts.append(replace(concept, figures=concept.figures | {MOVED_BY_REMOVALS: [*known, *more]}))
    return replace(state, concepts=tuple(concepts))
