"""A state as the page shows it."""

from __future__ import annotations

import numpy as np

from ...drift import drift
from ...history import recorded
from ...state import CNSState, LearnedConcept

_NEAREST = 3  # overlaps of a concept that are told: all of them would be most of a workflow with many concepts


def state_record(state: CNSState) -> dict[str, object]:
    """What a page shows of a state, as JSON: its concepts, how far each has moved since it was taught, its largest overlaps
    (IoU) with others; and the budget. Takes about a millisecond for each pair of concepts.
    """
    matrix, since = state.overlaps, drift(state)

    def record(number: int, concept: LearnedConcept) -> dict[str, object]:
        others = [other for other in np.argsort(-matrix[number]).tolist() if other != number][:_NEAREST]
        return {
            "token": concept.token,
            "noun": concept.noun,
            "weights": concept.mask.count,
            "share": round(concept.mask.share, 5),
            "moved": round(since[concept.token], 5) if concept.token in since else None,
            "overlaps": [{"token": state.concepts[i].token, "iou": round(matrix[number, i].item(), 3)} for i in others],
        }

    return {
        "concepts": [record(number, concept) for number, concept in enumerate(state.concepts)],
        "history": all(recorded(state)),  # whether single concepts can have a strength
        "used": round(state.delta.mask.share, 5),
        "checkpoint": state.fingerprint.name or state.fingerprint.kv.short,
    }
