"""Figures for people, beside what the paper reports for SD-1.5 where it does.

Markdown lists with tokens in backticks: some of ComfyUI's text previews render Markdown, and would swallow ``<new1>``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from .config import FEW_PRIORS
from .drift import drift
from .history import recorded
from .kept_prompts import ORDINARY
from .masks import NeuronMask
from .state import CNSState, LearnedConcept
from .training import TrainingResult

_SD15_KV_WEIGHTS, _SD15_PARAMETERS = 19_169_280, 859_520_964  # the latter the UNet's, the paper's "all parameters"


def selection_figures(base: NeuronMask, general: NeuronMask, chosen: NeuronMask, state: CNSState | None) -> str:
    """Counts, shares and overlaps of a selection, one per line."""
    size = chosen.layout.size
    shared = (base & general).count / base.count if base.count else 0.0
    of_all, paper = "", "about 5 %"
    if size == _SD15_KV_WEIGHTS:
        of_all, paper = f", {chosen.count / _SD15_PARAMETERS:.3%} of the UNet", "about 5 % and 0.13 %"
    lines = [
        f"base neurons: {base.count:,}, {base.share:.2%} of K/V",
        f"general neurons: {general.count:,}, {general.share:.2%} of K/V",
        f"chosen neurons: {chosen.count:,}, {chosen.share:.2%} of K/V{of_all} (paper: {paper})",
        f"{shared:.1%} of the base neurons are general (K/V weights in all: {size:,})",
    ]
    if state is not None and state.concepts:
        used = state.used_neurons()
        lines += [
            f"IoU with {_name(concept)}: {chosen.iou(concept.mask):.3f} (paper: 0.24 on average)" for concept in state.concepts
        ]
        lines.append(f"{(chosen & used).count / chosen.count:.1%} of them were trained by an earlier concept")
    return markdown_list(lines)


def training_figures(state: CNSState, result: TrainingResult) -> str:
    """What the last training of ``state`` did, one fact per line."""
    concept = state.concepts[-1]
    first, last = result.history[: _window(result)].mean(0), result.history[-_window(result) :].mean(0)
    priors = concept.figures.get("prior_images", 0)
    prior = f"{first[1]:.4f} → {last[1]:.4f}" if priors else "none (no prior images wired)"
    return markdown_list(
        [
            f"{_name(concept)}: {_steps(result)}",
            f"trained {concept.mask.count:,} weights ({concept.mask.share:.2%} of K/V) and {_vectors(concept)}",
            f"instance loss {first[0]:.4f} → {last[0]:.4f}, prior loss {prior}, regularization {last[2]:.2e}",
            f"largest change of a weight {result.values.abs().max():.2e}",
            *_norm(concept),
            *_few_priors(priors),
            *_moved(state, result),
            f"state: {_concepts(state)}, {state.delta.mask.count:,} weights differ from the checkpoint "
            f"({state.delta.mask.share:.2%} of K/V)",
        ]
    )


def _steps(result: TrainingResult) -> str:
    steps, now = len(result.history), len(result.history) - result.resumed
    some = f", {now} of them now" if result.resumed else ""
    return f"{steps} steps{some}" + (f" in {result.seconds:.1f} s ({now / result.seconds:.2f} it/s)" if now else "")


def _norm(concept: LearnedConcept) -> list[str]:
    """How long the token's vectors are: ones far longer than an ordinary word's outshout the rest of a prompt."""
    if "ordinary_norm" not in concept.figures:
        return []
    norms = ", ".join(f"{norm:.2f}" for norm in concept.vectors.norm(dim=1).tolist())
    return [f"length of the token's vectors {norms} (an ordinary word's: {concept.figures['ordinary_norm']:.2f})"]


def _few_priors(count: int) -> list[str]:
    if not 0 < count < FEW_PRIORS:
        return []
    images = "1 prior image is" if count == 1 else f"{count} prior images are"
    return [f"only {images} used, which will be memorized: use {FEW_PRIORS} or more; Make Prior Images draws them"]


def _moved(state: CNSState, result: TrainingResult) -> list[str]:
    """How far what was held is from where it was: ordinary prompts in the checkpoint, concepts when they were taught."""
    if not result.moved:
        return [] if result.prev_weight is None else [f"λ_prev found from the gradients: {result.prev_weight:.3g}"]
    tolerance, since = _tolerance(state), drift(state)
    lines = []
    if ORDINARY in result.moved:
        lines.append(f"K and V of {ORDINARY} are {result.moved[ORDINARY]:.1%} from the checkpoint's")
    for concept in state.concepts[:-1]:
        if concept.token not in since:
            lines.append(f"K and V of {_name(concept)} moved by {result.moved[concept.name]:.1%}")
            continue
        off = since[concept.token]
        warning = ": more than twice the tolerance, so look at its pictures" if off > 2 * tolerance else ""
        lines.append(f"K and V of {_name(concept)} are {off:.1%} from where they were when it was taught{warning}")
    if result.kept_share < 1:
        lines.append(f"the change was scaled to {result.kept_share:.0%} to stay within keep_tolerance")
    return lines


def _tolerance(state: CNSState) -> float:
    """Of the last training, as a share."""
    return state.concepts[-1].settings["keep_tolerance"] / 100


def _concepts(state: CNSState) -> str:
    return f"{len(state.concepts)} concept{'s' * (len(state.concepts) != 1)}"


def enlarged_figures(images: Mapping[str, Sequence[Tensor]], resolution: int) -> str:
    """A line about images (height, width, 3), by kind, that are smaller than the training's resolution; empty if none is."""
    small = {kind: sum(min(image.shape[:2]) < resolution for image in given) for kind, given in images.items()}
    parts = [f"{count:,} of {len(images[kind]):,} {kind} images" for kind, count in small.items() if count]
    if not parts:
        return ""
    enlarged = f"{' and '.join(parts)} {'was' if sum(small.values()) == 1 else 'were'} enlarged to {resolution} px"
    return markdown_list([f"{enlarged}, which blurs them: use larger ones, or a lower resolution"])


def _vectors(concept: LearnedConcept) -> str:
    count = len(concept.vectors)
    return f"{count} token vector{'s' * (count > 1)}"


def _window(result: TrainingResult) -> int:
    """Steps to average over: a tenth of the run, at least one."""
    return max(1, len(result.history) // 10)


def state_figures(state: CNSState) -> str:
    """One line per concept, and what all of them use."""
    lines = [
        f"{_name(concept)}: {concept.mask.count:,} weights ({concept.mask.share:.2%} of K/V), {_vectors(concept)}"
        for concept in state.concepts
    ]
    fingerprint = state.fingerprint
    lines.append(f"{_concepts(state)}, {state.delta.mask.share:.2%} of K/V used, checkpoint {fingerprint.title}")
    if (fingerprint.clip_skip or 1) > 1:
        lines.append(f"taught with CLIP skip {fingerprint.clip_skip}")
    if fingerprint.unrecorded:
        lines.append(f"{fingerprint.unrecorded} not recorded: use those it was taught with")
    if not all(recorded(state)):
        lines.append("without history: individual concepts cannot have strengths of their own")
    return markdown_list(lines)


def markdown_list(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _name(concept: LearnedConcept) -> str:
    return f"`{concept.name}`"
