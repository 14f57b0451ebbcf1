"""How well pictures show what their prompts ask for: every score of every picture, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .concept import Concept, without_token
from .errors import CNSError
from .judge import CLIP_SCORE


@dataclass(frozen=True, eq=False)
class Scores:
    """Of pictures, one value each. ``text``: see :func:`.judge.text_alignment`; None where the judge reads no text.
    ``alike``: by concept, :func:`.judge.image_alignment`; NaN where the prompt does not ask for it. ``ceilings``: of each.
    """

    prompts: tuple[str, ...]
    text: np.ndarray | None
    alike: dict[str, np.ndarray] = field(default_factory=dict)
    ceilings: dict[str, float] = field(default_factory=dict)

    @property
    def likeness(self) -> str:
        """What the judge's image alignment is called."""
        return "DINO" if self.text is None else "CLIP-I"

    @property
    def means(self) -> dict[str, float]:
        """Over the pictures, in the order they are told in."""
        found = {} if self.text is None else {"CLIP-T": float(self.text.mean())}
        return found | {name: float(np.nanmean(values)) for name, values in self.alike.items() if not np.isnan(values).all()}


def prompt_of_each(prompts: Sequence[str], pictures: int) -> list[str]:
    """One prompt for each picture: of ``n`` prompts each has the same number of pictures, one after the other.

    Raises:
        CNSError: no prompts, or pictures that cannot be shared out evenly.
    """
    if not prompts:
        raise CNSError("prompts is empty: write the prompt the images were made with.")
    if pictures % len(prompts):
        raise CNSError(
            f"{pictures} images cannot be divided evenly among {len(prompts)} prompts: write one prompt for all, or lines "
            "that each have the same number of images."
        )
    return [prompt for prompt in prompts for _ in range(pictures // len(prompts))]


def asks_for(prompt: str, concept: Concept) -> bool:
    return concept.token.lower() in prompt.lower()


def spoken(prompt: str, concepts: Sequence[Concept]) -> str:
    """The prompt as the judge reads it: without tokens, with the class noun where it stood beside none."""
    for concept in concepts:
        prompt = without_token(prompt, concept.token, concept.noun)
    return prompt


def told(scores: Scores) -> list[str]:
    """Lines for people; both scales of text alignment, and each concept's ceiling beside its score."""
    lines = []
    if scores.text is not None:
        mean = scores.text.mean()
        lines.append(f"CLIP-T {mean:.4f} (2.5 · cosine, the paper's scale; plain cosine {mean / CLIP_SCORE:.4f})")
    for name, values in scores.alike.items():
        asked = int((~np.isnan(values)).sum())
        if not asked:
            lines.append(f"`{name}`: no prompt asks for it")
            continue
        ceiling = scores.ceilings[name]
        copies = ": the model copies them" if np.nanmean(values) > ceiling else ""
        beside = "" if np.isnan(ceiling) else f", its own images with each other {ceiling:.4f}{copies}"
        lines.append(f"{scores.likeness} of `{name}` {np.nanmean(values):.4f} over {asked} images{beside}")
    return lines


def as_table(scores: Scores) -> str:
    """A Markdown table with a row for each picture."""
    columns = [] if scores.text is None else [("CLIP-T", scores.text)]
    columns += list(scores.alike.items())
    head = ["image", "prompt", *(f"`{name}`" for name, _ in columns)]
    rows = [
        [str(i + 1), _cell(prompt), *("" if np.isnan(values[i]) else f"{values[i]:.4f}" for _, values in columns)]
        for i, prompt in enumerate(scores.prompts)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def _cell(prompt: str) -> str:
    escaped = " ".join(prompt.split()).replace("|", "\\|")
    return f"`{escaped}`"
