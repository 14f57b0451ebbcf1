"""Takes a concept out of a state: encodes the prompts that its removal is computed from, and measures what it did."""

from __future__ import annotations

from dataclasses import dataclass

from comfy.sd import CLIP
from torch import Tensor

from ..calibration import shipped_prompts
from ..concept import literal
from ..drift import undoable, with_removal
from ..errors import CNSError
from ..history import index_of
from ..kept_prompts import kept_prompts
from ..removal import Moments, moved, remove_concept
from ..state import CNSState
from .checkpoint.checkpoint import Checkpoint
from .checkpoint.conditioning import moment_of
from .checkpoint.tokens import with_tokens
from .checkpoint.unpatched import without_patches
from .page.progress import Progress

MOST_ADDED = 0.05  # to how far ordinary prompts are from the checkpoint's K and V: beyond, all pictures change


def remove(
    checkpoint: Checkpoint, state: CNSState, token: str, ordinary: list[str], node_id: str | None
) -> tuple[CNSState, list[str]]:
    """The state without the concept, and lines for people: what is left of it, and how far the others moved.

    ``ordinary``: prompts to hold, at least two; every second one is only measured. Empty: those the pack ships.

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
    effect = _effect(checkpoint, state, removed, moments, measured)
    _check_ordinary(state.concepts[index].name, effect.ordinary)
    exactly = undoable(state, index)
    if not exactly:
        removed = with_removal(removed, state, effect.others)
    return removed, _figures(state, index, exactly, effect)


def _moments(clip: CLIP, state: CNSState, index: int, ordinary: list[str], node_id: str | None) -> tuple[Moments, Tensor]:
    """What the removal is computed from, and the moment of ordinary prompts that are only measured."""
    concept, others = state.concepts[index], state.concepts[:index] + state.concepts[index + 1 :]
    held = [*ordinary[::2], *_anchors(state)]
    sets = [kept_prompts(concept), held, ordinary[1::2], *map(kept_prompts, others)]
    progress = Progress(sum(len(set(prompts)) for prompts in sets), node_id)
    known = with_tokens(without_patches(clip), state.tokens)  # a LoRA that happens to be there is no part of the state
    own, ordinary_moment, measured, *of_others = (moment_of(known, prompts, progress.advance) for prompts in sets)
    return Moments(own, of_others, ordinary_moment), measured


@dataclass(frozen=True)
class _Effect:
    """By which share of their size K and V of prompts differ: the removed concept's and ordinary ones from the checkpoint's,
    before the removal and after; each other concept's from what they were.
    """

    own: tuple[float, float]
    others: list[float]
    ordinary: tuple[float, float]


def _effect(checkpoint: Checkpoint, state: CNSState, removed: CNSState, moments: Moments, measured: Tensor) -> _Effect:
    before, after, weights = state.delta.flat(), removed.delta.flat(), checkpoint.weights
    taught = {
        layer.name: weights[layer.name].float().cpu() + before[layer.span].view(layer.out_features, -1)
        for layer in state.layout.layers
    }

    def from_checkpoint(moment: Tensor) -> tuple[float, float]:
        return moved(before, weights, moment), moved(after, weights, moment)

    others = [moved(after - before, taught, moment) for moment in moments.others]
    return _Effect(from_checkpoint(moments.own), others, from_checkpoint(measured))


def _check_ordinary(name: str, ordinary: tuple[float, float]) -> None:
    """Raises CNSError where they have moved too far."""
    before, after = ordinary
    if after > before + MOST_ADDED:
        raise CNSError(
            f"Without {name}, K and V of ordinary prompts would differ from the checkpoint's by {after:.1%} "
            f"({before:.1%} before), so every picture would change: teach the others again without it."
        )


def _figures(state: CNSState, index: int, exactly: bool, effect: _Effect) -> list[str]:
    others = state.concepts[:index] + state.concepts[index + 1 :]
    (own_before, own), (ordinary_before, ordinary) = effect.own, effect.ordinary
    how = ", exactly as before it was taught" if exactly else ""
    return [
        f"`{state.concepts[index].name}` removed{how}: K and V of its prompts differ from the checkpoint's by {own:.1%} "
        f"({own_before:.1%} before)",
        *(f"K and V of `{other.name}` moved {share:.1%}" for other, share in zip(others, effect.others, strict=True)),
        f"K and V of ordinary prompts differ from the checkpoint's by {ordinary:.1%} ({ordinary_before:.1%} before)",
    ]


def _anchors(state: CNSState) -> list[str]:
    """What every picture hangs on besides: the empty prompt, which is padding but for the start of text, and the bare nouns."""
    nouns = dict.fromkeys(literal(concept.noun) for concept in state.concepts)
    return ["", *nouns, *(f"a photo of a {noun}" for noun in nouns)]
