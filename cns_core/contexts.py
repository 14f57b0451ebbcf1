"""Sentences that a concept or its class is put into."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .concept import literal

SURROUNDINGS = (
    "a photo of a {concept}",
    "a {concept} on the beach",
    "a {concept} in the snow",
    "a {concept} in a forest at dawn",
    "a {concept} in front of a city skyline at night",
    "a {concept} on a wooden table",
    "a {concept} beside a window with a view of the mountains",
)
# Of prior images. They fit things, animals and people; whoever teaches a style writes others.
CLASS_CONTEXTS = tuple(
    context.replace("{concept}", "{noun}")
    for context in (
        *SURROUNDINGS,
        "a close-up photo of a {concept}",
        "a {concept} seen from the side",
        "a {concept} in a garden on a sunny day",
        "a {concept} in a living room",
        "a {concept} in front of a brick wall",
        "a {concept} on a city street",
        "a small {concept} in a wide landscape",
        "a photo of a {concept}, plain background",
        "a {concept} on grass",
    )
)

# For pictures that nobody has described: true of most photographs, and different enough to leave a choice of neurons.
_UNDESCRIBED = (
    "a photo of a {noun}",
    "a close-up photo of a {noun} in the middle of the picture",
    "a good picture of the {noun}, in natural light",
    "one {noun}, photographed with a phone",
    "a cropped photo of the {noun} in its surroundings",
    "a bright photo of the {noun}, seen from the front",
)


def undescribed(noun: str, number: int) -> str:
    """A caption for the ``number``-th picture (from 0) of a class, as text."""
    context = _UNDESCRIBED[number % len(_UNDESCRIBED)]
    return _with_article(context, noun).replace("{noun}", noun)


def class_prompts(noun: str, contexts: Sequence[str], count: int) -> list[str]:
    """So many prompts for a class, the contexts in turn, with ``an`` before a vowel."""
    name = literal(noun)
    filled = [_with_article(context, noun).replace("{noun}", name) for context in contexts]
    return [filled[number % len(filled)] for number in range(count)]


def _with_article(context: str, noun: str) -> str:
    return re.sub(r"\b([Aa]) (?=\{noun\})", r"\1n ", context) if noun[:1].lower() in set("aeiou") else context
