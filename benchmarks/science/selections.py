"""Other choices of a concept's neurons.

Three have as many in each row as the paper's choice has there. ``unowned`` takes no weight an earlier concept trains and
refills the row from the next best. ``fisher`` divides what a weight can do for the concept's loss by what it does to the loss
of ordinary pictures; ``coverage`` covers all caption tokens, greedily by gain over cost. The last two follow the ideas, not the
letter, of SCNS (ICML 2026), which has no public code: Fisher risk, facility location, cost-aware greedy.

Two are the paper's choice from less: ``words`` scores without the start of text, the end and the padding of each prompt, ``one
caption`` with a single caption. ``every second layer`` is the strategy's choice, in half of the layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cns_core.kv_layers import layout_of
from cns_core.masks import NeuronMask
from cns_core.scoring import common_mask, feature_norms


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a selection sees. ``weights`` are W0; ``chosen`` is the strategy's choice; ``captions`` and ``others`` (calibration
    and earlier concepts' prompts) are text features (tokens, features) each, ``words`` and ``calibration_words`` those rows of
    them that are words; ``fisher`` mean squared gradients of the concept's loss, like ``weights``, ``ordinary_fisher`` of
    ordinary prompts' loss.
    """

    weights: Mapping[str, Tensor]
    chosen: NeuronMask
    general: NeuronMask
    owned: NeuronMask
    captions: list[Tensor]
    others: list[Tensor]
    words: list[Tensor]
    calibration_words: list[Tensor]
    top_fraction: float
    fisher: Callable[[], Mapping[str, Tensor]]
    ordinary_fisher: Callable[[], Mapping[str, Tensor]]


def unowned(candidates: Candidates) -> NeuronMask:
    """The paper's choice as far as no earlier concept trains it, then the next best of the worst caption's score."""
    norms = torch.stack([feature_norms(caption) for caption in candidates.captions])
    norms = norms / norms.mean(dim=1, keepdim=True)
    worst = {name: weight.abs() * norms.amin(0) for name, weight in candidates.weights.items()}
    first = {layer.name: candidates.chosen.layer(layer) for layer in candidates.chosen.layout.layers}
    scores = {name: score + score.max() * first[name] for name, score in worst.items()}
    return _best(candidates, scores, candidates.general | candidates.owned)


def fisher(candidates: Candidates) -> NeuronMask:
    """General neurons are allowed: the risk already prices them."""
    ordinary = candidates.ordinary_fisher()
    scores = {name: value / (ordinary[name] + 0.1 * ordinary[name].mean()) for name, value in candidates.fisher().items()}
    return _best(candidates, scores, NeuronMask.empty(candidates.chosen.layout))


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


def _best(candidates: Candidates, scores: Mapping[str, Tensor], barred: NeuronMask) -> NeuronMask:
    """In each row as many of the highest scores as the paper's choice has there, none that is barred."""
    layout, picked = layout_of(candidates.weights), {}
    for layer in layout.layers:
        allowed = ~barred.layer(layer)
        counts = torch.minimum(candidates.chosen.layer(layer).sum(1), allowed.sum(1))
        ranks = scores[layer.name].masked_fill(~allowed, -1).argsort(dim=1, descending=True).argsort(dim=1)
        picked[layer.name] = ranks < counts.unsqueeze(1)
    return NeuronMask.from_layers(layout, picked)


SAME_SIZE = {"unowned": unowned, "fisher": fisher, "coverage": coverage}
FROM_LESS = {"words": words, "one caption": one_caption}
SELECTIONS = {**SAME_SIZE, **FROM_LESS, "every second layer": every_second_layer}
