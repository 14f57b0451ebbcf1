"""What is drawn: prompts with one, two and three concepts, as many of each as in the paper (section 5.1)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from cns_core.concept import Concept, literal

_ONE = ("a {0} on the beach", "a {0} in the snow", "a {0} in a forest", "a {0} in a city at night", "an oil painting of a {0}")
_SEVERAL = ("a photo of {0}", "{0}, on the beach", "{0}, in a forest", "an oil painting of {0}")


@dataclass(frozen=True)
class Counts:
    """``single``: prompts for each concept; ``double``, ``triple``: in all. Of seven concepts 35, 4 and 3, as in the paper."""

    single: int = 5
    double: int = 4
    triple: int = 3


@dataclass(frozen=True, eq=False)
class Prompt:
    text: str
    concepts: tuple[Concept, ...]


def single_prompts(concept: Concept, counts: Counts) -> list[Prompt]:
    return [Prompt(_ONE[number % len(_ONE)].format(literal(concept.name)), (concept,)) for number in range(counts.single)]


def multi_prompts(concepts: Sequence[Concept], counts: Counts) -> list[Prompt]:
    """Drawn from the concepts, always the same ones."""
    rng, prompts = random.Random(0), []
    for amount, count in ((2, counts.double), (3, counts.triple)):
        for number in range(count if len(concepts) >= amount else 0):
            shown = tuple(rng.sample(list(concepts), amount))
            together = " next to ".join(f"a {literal(concept.name)}" for concept in shown)
            prompts.append(Prompt(_SEVERAL[number % len(_SEVERAL)].format(together), shown))
    return prompts
