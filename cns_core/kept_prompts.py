"""Prompts an earlier concept is held in, beside those it was trained with.

Without them, what the model makes of its token in a new sentence moves far more than what it makes of the training's own.
"""

from __future__ import annotations

from .concept import literal
from .contexts import SURROUNDINGS
from .state import LearnedConcept

ORDINARY = "ordinary prompts"  # what figures call the calibration prompts, beside the concepts' names

_CONTEXTS = (
    "{concept}",
    "a {concept}",
    *SURROUNDINGS,
    "a red {concept}",
    "a cat in a {concept}",
    "a {concept} and a chair",
    "a person with a {concept}",
    "an oil painting of a {concept}",
    "a bridge, in the style of {concept}",
    "close-up of a {concept}, soft light, detailed",
)


def kept_prompts(concept: LearnedConcept) -> list[str]:
    """Those it was trained with, and its name in other sentences; each one once."""
    elsewhere = (context.replace("{concept}", literal(concept.name)) for context in _CONTEXTS)
    return list(dict.fromkeys([*concept.prompts, *elsewhere]))
