"""Figures for people: plain text, beside what the paper reports for SD-1.5 where it does."""

from __future__ import annotations

from .masks import NeuronMask
from .state import CNSState, LearnedConcept
from .training import TrainingResult

_SD15_PARAMETERS = 859_520_964  # the UNet's, the paper's reference for "of all parameters"


def selection_figures(base: NeuronMask, general: NeuronMask, chosen: NeuronMask, state: CNSState | None) -> str:
    """Counts, shares and overlaps of a selection, one a line."""
    size = chosen.layout.size
    shared = (base & general).count / base.count if base.count else 0.0
    lines = [
        f"base neurons     {base.count:>12,}  {base.share:7.2%} of K/V",
        f"general neurons  {general.count:>12,}  {general.share:7.2%} of K/V",
        f"chosen neurons   {chosen.count:>12,}  {chosen.share:7.2%} of K/V  {chosen.count / _SD15_PARAMETERS:.3%} of the UNet"
        "   (paper: about 5 % and 0.13 %)",
        f"{shared:.1%} of the base neurons are general   (K/V weights in all: {size:,})",
    ]
    if state is not None and state.concepts:
        used = state.used_neurons()
        lines += [f"IoU with {concept.token} {concept.noun}: {chosen.iou(concept.mask):.3f}" for concept in state.concepts]
        lines.append(
            f"{(chosen & used).count / chosen.count:.1%} of them were trained by an earlier concept   "
            "(paper: pairwise mIoU 0.24)"
        )
    return "\n".join(lines)


def training_figures(state: CNSState, result: TrainingResult) -> str:
    """What the last training of ``state`` did, one fact a line."""
    concept = state.concepts[-1]
    first, last = result.history[: _window(result)].mean(0), result.history[-_window(result) :].mean(0)
    steps = len(result.history)
    prior = f"{first[1]:.4f} → {last[1]:.4f}" if concept.figures.get("prior_images") else "none (no prior images wired)"
    return "\n".join(
        [
            f"{concept.token} {concept.noun}: {steps} steps in {result.seconds:.1f} s ({steps / result.seconds:.2f} it/s)",
            f"trained {concept.mask.count:,} weights ({concept.mask.share:.2%} of K/V) and {_vectors(concept)}",
            f"instance loss {first[0]:.4f} → {last[0]:.4f}   prior loss {prior}   keep {last[2]:.2e}",
            f"largest change of a weight {result.values.abs().max():.2e}",
            f"state: {_concepts(state)}, {state.delta.mask.count:,} weights differ from the checkpoint "
            f"({state.delta.mask.share:.2%} of K/V)",
        ]
    )


def _concepts(state: CNSState) -> str:
    return f"{len(state.concepts)} concept{'s' * (len(state.concepts) != 1)}"


def _vectors(concept: LearnedConcept) -> str:
    count = len(concept.vectors)
    return f"{count} token vector{'s' * (count > 1)}"


def _window(result: TrainingResult) -> int:
    """Steps to average over: a tenth of the run, at least one."""
    return max(1, len(result.history) // 10)


def state_figures(state: CNSState) -> str:
    """One line a concept, and what all of them use."""
    lines = [
        f"{concept.token} {concept.noun}: {concept.mask.count:,} weights ({concept.mask.share:.2%} of K/V), {_vectors(concept)}"
        for concept in state.concepts
    ]
    lines.append(f"{_concepts(state)}, {state.delta.mask.share:.2%} of K/V used, checkpoint {state.fingerprint.short}")
    return "\n".join(lines)
