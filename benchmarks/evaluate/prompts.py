"""What is drawn: prompts with one, two and three concepts, as many of each as in the paper (section 5.1)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from cns_core.concept import Concept, literal
from cns_core.errors import CNSError

_ONE = ("a {0} on the beach", "a {0} in the snow", "a {0} in a forest", "a {0} in a city at night", "an oil painting of a {0}")
_SEVERAL = ("a photo of {0}", "{0}, on the beach", "{0}, in a forest", "an oil painting of {0}")


@dataclass(frozen=True)
class Counts:
    """``single``: prompts for each concept; ``double``, ``triple``: in all. Of seven concepts 35, 4 and 3, as in the paper.

    Raises:
        CNSError: more than there are; a prompt that is drawn twice gives the same pictures and no new evidence.
    """

    single: int = 5
    double: int = 4
    triple: int = 3

    def __post_init__(self) -> None:
        several = (self.double, self.triple)
        if self.single > len(_ONE) or max(several) > len(_SEVERAL) or min(self.single, *several) < 0:
            raise CNSError(
                f"--prompts is {self.single} {self.double} {self.triple}, but there are at most {len(_ONE)} different prompts "
                f"for each concept, {len(_SEVERAL)} with two and {len(_SEVERAL)} with three: choose no more, and none below 0."
            )


@dataclass(frozen=True, eq=False)
class Prompt:
    text: str
    concepts: tuple[Concept, ...]


def single_prompts(concept: Concept, counts: Counts) -> list[Prompt]:
    return [Prompt(template.format(literal(concept.name)), (concept,)) for template in _ONE[: counts.single]]


def multi_prompts(concepts: Sequence[Concept], counts: Counts) -> list[Prompt]:
    """Drawn from the concepts, always the same ones."""
    rng, prompts = random.Random(0), []
    for amount, count in ((2, counts.double), (3, counts.triple)):
        for template in _SEVERAL[: count if len(concepts) >= amount else 0]:
            shown = tuple(rng.sample(list(concepts), amount))
            together = " next to ".join(f"a {literal(concept.name)}" for concept in shown)
            prompts.append(Prompt(template.format(together), shown))
    return prompts
