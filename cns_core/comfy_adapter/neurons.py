"""Scores prompts on a wired-in model: base and general neurons."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch

from ..calibration import shipped_prompts
from ..config import SelectionConfig
from ..errors import CNSError
from ..fingerprint import Fingerprint
from ..masks import NeuronMask
from ..scoring import common_mask, prompt_mask, selected_per_row
from ..selection import select
from ..state import CNSState
from ..training.keep_term import Row
from .checkpoint.checkpoint import Checkpoint
from .checkpoint.conditioning import encode_all, row_kinds
from .checkpoint.unpatched import check_unpatched
from .page.progress import Progress

_ALIKE = 0.85  # IoU of captions' masks from which they say nearly the same
GENERAL_MASK = "The mask of the general neurons"
SAME_MODEL = "wire the same MODEL and CLIP into all CNS nodes"


@dataclass(frozen=True, eq=False)
class Neurons:
    """What flows between the neuron nodes: a mask, how it came about, and the checkpoint it belongs to.

    ``selected``: a choice to train, rather than base or general neurons. ``calibration``: of such, the prompts their general
    neurons were computed from.
    """

    mask: NeuronMask
    kind: str
    prompts: tuple[str, ...]
    top_fraction: float
    fingerprint: Fingerprint
    calibration: tuple[str, ...] = ()
    selected: bool = False


def compute_neurons(checkpoint: Checkpoint, prompts: list[str], top_fraction: float, kind: str, node_id: str | None) -> Neurons:
    """AND of the prompts' masks on the pretrained weights; obeys Cancel and shows progress.

    Raises:
        CNSError: not an unpatched SD-1.5, an empty prompt.
    """
    check_unpatched(checkpoint)
    weights = checkpoint.weights
    progress = Progress(len(set(prompts)) + len(weights), node_id)
    contexts = encode_all(checkpoint.clip, prompts, progress.advance)
    mask = common_mask(weights, contexts, top_fraction, progress.advance)
    return Neurons(mask, kind, tuple(prompts), top_fraction, checkpoint.fingerprint)


def general_neurons(checkpoint: Checkpoint, node_id: str | None) -> Neurons:
    """Of the shipped prompts, by the defaults of Compute General Neurons."""
    config = SelectionConfig()
    return compute_neurons(checkpoint, draw_calibration(shipped_prompts(), config), config.top_fraction, "general", node_id)


def caption_figures(checkpoint: Checkpoint, neurons: Neurons) -> list[str]:
    """What captions make of a selection: what their features consist of, and a warning where they select nearly the same."""
    return [_norm_shares(checkpoint, neurons.prompts), *_alike(neurons)]


def _norm_shares(checkpoint: Checkpoint, prompts: tuple[str, ...]) -> str:
    """Which rows of ``c(p)`` its squared norm, by which weights are scored, comes from, on average over the prompts."""
    shares = torch.zeros(len(Row))
    for prompt, context in zip(prompts, encode_all(checkpoint.clip, list(prompts)), strict=True):
        squared = context.cpu().square().sum(dim=1)
        shares += torch.zeros(len(Row)).index_add(0, row_kinds(checkpoint.clip, prompt), squared) / squared.sum() / len(prompts)
    start, words, padding = (float(shares[kind]) for kind in (Row.START, Row.WORD, Row.PADDING))
    return (
        f"the scores come {words:.0%} from the captions' words, {padding:.0%} from their end and padding, {start:.0%} from "
        "their start"
    )


def _alike(neurons: Neurons) -> list[str]:
    if len(neurons.prompts) == 1:
        return [
            "one caption selects about three times as many weights as several do: more images, in other surroundings, make "
            "the choice more specific"
        ]
    selected = selected_per_row(neurons.mask.layout.in_features, neurons.top_fraction) / neurons.mask.layout.in_features
    common = neurons.mask.share / selected  # of what each caption selects
    least = common / (2 - common)  # two masks of one size with at least that in common have at least this IoU
    if least <= _ALIKE:
        return []
    return [f"the captions select nearly the same (IoU {least:.2f} or more): describe what differs, in 15 to 30 words"]


def prompt_masks(checkpoint: Checkpoint, prompts: list[str], top_fraction: float, node_id: str | None) -> list[NeuronMask]:
    """``M(p)`` of each prompt; obeys Cancel and shows progress.

    Raises:
        CNSError: not an unpatched SD-1.5, no or an empty prompt.
    """
    if not prompts:
        raise CNSError("No prompts were given: write at least one, one per line.")
    check_unpatched(checkpoint)
    weights = checkpoint.weights
    progress = Progress(len(set(prompts)) + len(prompts), node_id)
    masks = []
    for context in encode_all(checkpoint.clip, prompts, progress.advance):
        masks.append(prompt_mask(weights, context, top_fraction))
        progress.advance()
    return masks


def draw_calibration(prompts: list[str], config: SelectionConfig) -> list[str]:
    """``K`` of the prompts, drawn without replacement from ``config.seed``, in their own order.

    Raises:
        CNSError: fewer prompts than K.
    """
    if len(prompts) < config.calibration_count:
        raise CNSError(
            f"{config.calibration_count} calibration prompts are to be drawn, but only {len(prompts)} were given: "
            "lower count or add prompts, one per line."
        )
    generator = torch.Generator().manual_seed(config.seed)
    chosen = torch.randperm(len(prompts), generator=generator)[: config.calibration_count]
    return [prompts[i] for i in sorted(chosen.tolist())]


def check_kind(neurons: Neurons, kind: str) -> None:
    """Raises CNSError where they are not base or general neurons, as ``kind`` says."""
    if neurons.selected or neurons.kind != kind:
        got = "selected" if neurons.selected else neurons.kind
        raise CNSError(f"The {kind}_neurons input got {got} neurons: wire Compute {kind.title()} Neurons there.")


def select_neurons(base: Neurons, general: Neurons, strategy: str, seed: int, state: CNSState | None = None) -> Neurons:
    """The neurons a concept trains, by a named strategy; ``seed`` and the captions make up those drawn at random.

    Raises:
        CNSError: inputs in the wrong sockets, of different checkpoints or top percents, or no neuron left.
    """
    check_kind(base, "base")
    check_kind(general, "general")
    base.fingerprint.check_same(general.fingerprint, GENERAL_MASK, SAME_MODEL)
    if base.top_fraction != general.top_fraction:
        raise CNSError(
            f"The base neurons were computed with top_percent {base.top_fraction:.1%}, the general ones with "
            f"{general.top_fraction:.1%}: use the same in both nodes."
        )
    if state is not None:
        base.fingerprint.check_same(state.fingerprint, "The state")
    # From the seed alone every concept would draw the same neurons.
    digest = hashlib.sha256("\n".join((str(seed), *base.prompts)).encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    mask = select(strategy, base.mask, general.mask, generator)
    return Neurons(mask, strategy, base.prompts, base.top_fraction, base.fingerprint, general.prompts, True)
