"""Other choices of a concept's neurons.

``coverage`` has as many in each row as the paper's choice has there, and covers all caption tokens with them, greedily by gain
over cost. It follows the ideas, not the letter, of SCNS (ICML 2026), which has no public code: facility location, and a greedy
choice that minds the cost.

Two are the paper's choice from less: ``words`` scores without the start of text, the end and the padding of each prompt, ``one
caption`` with a single caption. ``every second layer`` is the strategy's choice, in half of the layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cns_core.masks import NeuronMask
from cns_core.scoring import common_mask


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a selection sees. ``weights`` are W0; ``chosen`` is the strategy's choice; ``captions`` and ``others`` (calibration
    and earlier concepts' prompts) are text features (tokens, features) each, ``words`` and ``calibration_words`` those rows of
    them that are words.
    """

    weights: Mapping[str, Tensor]
    chosen: NeuronMask
    general: NeuronMask
    captions: list[Tensor]
    others: list[Tensor]
    words: list[Tensor]
    calibration_words: list[Tensor]
    top_fraction: float


def coverage(candidates: Candidates) -> NeuronMask:
    """Facility location: ``f(S) = Σ_t max_{j∈S} |W_ij c_tj|`` over caption tokens t, greedily by gain over √risk."""
    tokens = torch.cat(candidates.captions).unique(dim=0).abs().float()
    others = torch.cat(candidates.others).float().square().mean(0)  # how far K and V of other prompts move with column j
    cost = (others + 0.1 * others.mean()).sqrt()
    picked = {}
    for layer in candidates.chosen.layout.layers:
        magnitude = candidates.weights[layer.name].abs().float()
        allowed = ~candidates.general.layer(layer)
        picked[layer.name] = _greedy(magnitude, tokens, cost, allowed, candidates.chosen.layer(layer).sum(1))
    return NeuronMask.from_layers(candidates.chosen.layout, picked)


def words(candidates: Candidates) -> NeuronMask:
    """Base ∧ ¬general, both scored by word rows alone."""
    base, general = (
        common_mask(candidates.weights, contexts, candidates.top_fraction)
        for contexts in (candidates.words, candidates.calibration_words)
    )
    return base.without(general)


def one_caption(candidates: Candidates) -> NeuronMask:
    return common_mask(candidates.weights, candidates.captions[:1], candidates.top_fraction).without(candidates.general)


def every_second_layer(candidates: Candidates) -> NeuronMask:
    chosen = candidates.chosen
    picked = {layer.name: chosen.layer(layer) & (number % 2 == 0) for number, layer in enumerate(chosen.layout.layers)}
    return NeuronMask.from_layers(chosen.layout, picked)


def _greedy(magnitude: Tensor, tokens: Tensor, cost: Tensor, allowed: Tensor, counts: Tensor) -> Tensor:
    value = magnitude.unsqueeze(1) * tokens  # (out, tokens, in)
    covered = value.new_zeros(value.shape[:2])
    picked, rows = torch.zeros_like(allowed), torch.arange(len(magnitude))
    for step in range(int(counts.max())):
        gain = (value - covered.unsqueeze(-1)).clamp(min=0).sum(1) / cost
        best = gain.masked_fill(~allowed | picked, -1).argmax(1)
        active = counts > step
        picked[rows[active], best[active]] = True
        seen = value[rows, :, best]
        covered = torch.where(active.unsqueeze(1), torch.maximum(covered, seen), covered)
    return picked


FROM_LESS = {"words": words, "one caption": one_caption}
SELECTIONS = {"coverage": coverage, **FROM_LESS, "every second layer": every_second_layer}
