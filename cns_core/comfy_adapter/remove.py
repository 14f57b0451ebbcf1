"""Takes a concept out of a state: encodes the prompts that its removal is computed from, and measures what it did."""

from __future__ import annotations

from collections.abc import Callable

from comfy.sd import CLIP
from torch import Tensor

from ..calibration import shipped_prompts
from ..errors import CNSError
from ..history import index_of, recorded
from ..kept_prompts import kept_prompts
from ..removal import Moments, moved, remove_concept
from ..state import CNSState
from ..training.keep_term import held_moment
from .checkpoint.checkpoint import Checkpoint
from .checkpoint.conditioning import features, row_kinds
from .checkpoint.tokens import with_tokens
from .page.progress import Progress

MOST_ADDED = 0.05  # to how far ordinary prompts are from the checkpoint's K and V: beyond, all pictures change


def remove(
    checkpoint: Checkpoint, state: CNSState, token: str, ordinary: list[str], node_id: str | None
) -> tuple[CNSState, list[str]]:
    """The state without the concept, and lines for people: what is left of it, and how far the others moved.

    ``ordinary``: prompts to hold, at least two; every second one is only measured. None: those the pack ships.

    Raises:
        CNSError: no such token, a state of another checkpoint, ordinary prompts that would move too far.
    """
    checkpoint.layout.check_same(state.layout, "The state")
    checkpoint.fingerprint.check_same(state.fingerprint, "The state")
    index = index_of(state, token)
    if len(ordinary) == 1:
        raise CNSError(
            "ordinary_prompts needs at least two lines, as every second one is only measured: add one, or leave it empty to "
            "use the pack's prompts."
        )
    moments, measured = _moments(checkpoint.clip, state, index, ordinary or shipped_prompts(), node_id)
    removed = remove_concept(state, index, moments)
    return removed, _figures(checkpoint, state, removed, index, moments, measured)


def _moments(clip: CLIP, state: CNSState, index: int, ordinary: list[str], node_id: str | None) -> tuple[Moments, Tensor]:
    """What the removal is computed from, and the moment of ordinary prompts that are only measured."""
    concept, others = state.concepts[index], state.concepts[:index] + state.concepts[index + 1 :]
    held = [*ordinary[::2], *_anchors(state)]
    sets = [kept_prompts(concept), held, ordinary[1::2], *map(kept_prompts, others)]
    progress = Progress(sum(len(set(prompts)) for prompts in sets), node_id)
    known = with_tokens(clip, state.tokens)
    own, ordinary_moment, measured, *of_others = (moment_of(known, prompts, progress.advance) for prompts in sets)
    return Moments(own, of_others, ordinary_moment), measured


def _figures(
    checkpoint: Checkpoint, state: CNSState, removed: CNSState, index: int, moments: Moments, measured: Tensor
) -> list[str]:
    """Raises CNSError where ordinary prompts have moved too far."""
    before, after, weights = state.delta.flat(), removed.delta.flat(), checkpoint.weights
    taught = {
        layer.name: weights[layer.name].float().cpu() + before[layer.span].view(layer.out_features, -1)
        for layer in state.layout.layers
    }
    name, others = state.concepts[index].name, state.concepts[:index] + state.concepts[index + 1 :]
    far, far_before = (moved(delta, weights, measured) for delta in (after, before))
    if far > far_before + MOST_ADDED:
        raise CNSError(
            f"Without {name} K and V of ordinary prompts would differ from the checkpoint's by {far:.1%} "
            f"({far_before:.1%} before), so every picture would change: teach the others again without it."
        )
    left, left_before = (moved(delta, weights, moments.own) for delta in (after, before))
    exactly = ", exactly as before it was taught" if index == len(others) and recorded(state)[-1] else ""
    return [
        f"`{name}` removed{exactly}: K and V of its prompts differ from the checkpoint's by {left:.1%} "
        f"({left_before:.1%} before)",
        *(
            f"K and V of `{other.name}` moved {moved(after - before, taught, moment):.1%}"
            for other, moment in zip(others, moments.others, strict=True)
        ),
        f"K and V of ordinary prompts differ from the checkpoint's by {far:.1%} ({far_before:.1%} before)",
    ]


def moment_of(clip: CLIP, prompts: list[str], on_prompt: Callable[[], None] = lambda: None) -> Tensor:
    """See :func:`.training.keep_term.held_moment`; ``on_prompt`` is called for each different prompt."""
    contexts = features(clip, prompts, on_prompt)
    return held_moment(contexts, [row_kinds(clip, prompt) for prompt in prompts])


def _anchors(state: CNSState) -> list[str]:
    """What every picture hangs on besides: the empty prompt, which is padding but for the start of text, and the bare nouns."""
    nouns = dict.fromkeys(concept.noun for concept in state.concepts)
    return ["", *nouns, *(f"a photo of a {noun}" for noun in nouns)]
