"""Wanda scores of a prompt and the mask they select (Sun et al. 2023, section 3; CNS, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .errors import CNSError
from .kv_layers import layout_of
from .masks import NeuronMask


def feature_norms(context: Tensor) -> Tensor:
    """``n_j = sqrt(sum_t c_tj²)`` over all token positions: (..., tokens, features) -> (features,), float32.

    Raises:
        CNSError: the conditioning holds NaN or infinity.
    """
    norms = context.detach().reshape(-1, context.shape[-1]).float().norm(dim=0)
    if not bool(torch.isfinite(norms).all()):
        raise CNSError("The text encoder returned NaN or infinity for a prompt: load the checkpoint's CLIP in fp32 or fp16.")
    return norms


def weight_scores(weight: Tensor, norms: Tensor) -> Tensor:
    """``S_ij = |W_ij| · n_j``: weight (out, in), norms (in,) -> (out, in), float32."""
    return weight.detach().float().abs() * norms.to(weight.device)


def row_top_mask(scores: Tensor, count: int) -> Tensor:
    """The ``count`` highest scores of each row, ties to the lower column: (out, in) -> bool (out, in)."""
    if count >= scores.shape[1]:
        return torch.ones_like(scores, dtype=torch.bool)
    if count <= 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    lowest_kept = scores.topk(count, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    mask = scores >= lowest_kept
    crowded = (mask.sum(dim=1) > count).nonzero().squeeze(1)
    if len(crowded):  # ties at the threshold, rare with real weights
        rows, limit = scores[crowded], lowest_kept[crowded]
        above, tied = rows > limit, rows == limit
        free = count - above.sum(dim=1, keepdim=True)
        mask[crowded] = above | (tied & (tied.cumsum(dim=1) <= free))
    return mask


def selected_per_row(in_features: int, top_fraction: float) -> int:
    """``round(r · in)``: 230 of 768 at r = 0.30."""
    return round(top_fraction * in_features)


def prompt_mask(weights: Mapping[str, Tensor], context: Tensor, top_fraction: float) -> NeuronMask:
    """``M(p)``: per row of every weight (out, in), the ``round(r·in)`` highest scores under ``context`` (tokens, in)."""
    norms = feature_norms(context)
    masks = {
        name: row_top_mask(weight_scores(weight, norms), selected_per_row(weight.shape[1], top_fraction))
        for name, weight in weights.items()
    }
    return NeuronMask.from_layers(layout_of(weights), masks)


def common_mask(
    weights: Mapping[str, Tensor],
    contexts: list[Tensor],
    top_fraction: float,
    on_prompt: Callable[[int], None] = lambda done: None,
) -> NeuronMask:
    """Logical AND of ``M(p)`` over the contexts of several prompts: base or general neurons (section 3.2).

    ``on_prompt`` hears the number of prompts done after each one.

    Raises:
        CNSError: no contexts, or their width differs from the weights'.
    """
    if not contexts:
        raise CNSError("No prompts were given, so there is nothing to score.")
    layout = layout_of(weights)
    common = NeuronMask.full(layout)
    for done, context in enumerate(contexts, start=1):
        if context.shape[-1] != layout.in_features:
            raise CNSError(
                f"CLIP gives text features of width {context.shape[-1]}, but the model's cross-attention reads "
                f"{layout.in_features}: wire the CLIP of the same checkpoint."
            )
        common = common & prompt_mask(weights, context, top_fraction)
        on_prompt(done)
    return common
