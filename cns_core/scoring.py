"""Wanda scores of a prompt and the mask they select (Sun et al. 2023, section 3; CNS, section 4.2, Eq. 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
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


def row_top_mask(scores: Tensor, count: int) -> Tensor:
    """The ``count`` highest scores of each row, ties to the lower column: (out, in) -> bool (out, in)."""
    if count >= scores.shape[1]:
        return torch.ones_like(scores, dtype=torch.bool)
    if count <= 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    lowest_kept = _highest(scores, count)
    mask = scores >= lowest_kept
    crowded = (mask.sum(dim=1) > count).nonzero().squeeze(1)
    if len(crowded):  # ties at the threshold, rare with real weights
        rows, limit = scores[crowded], lowest_kept[crowded]
        above, tied = rows > limit, rows == limit
        free = count - above.sum(dim=1, keepdim=True)
        mask[crowded] = above | (tied & (tied.cumsum(dim=1) <= free))
    return mask


def _highest(scores: Tensor, count: int) -> Tensor:
    """The ``count``-th highest score of each row, (out, 1). On the CPU numpy's vectorized partition beats topk threefold."""
    if scores.device.type != "cpu":
        return scores.topk(count, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    place = scores.shape[1] - count
    return torch.from_numpy(np.partition(scores.numpy(), place, axis=1)[:, place : place + 1])


def selected_per_row(in_features: int, top_fraction: float) -> int:
    """``round(r · in)``: 230 of 768 at r = 0.30."""
    return round(top_fraction * in_features)


def prompt_mask(weights: Mapping[str, Tensor], context: Tensor, top_fraction: float) -> NeuronMask:
    """``M(p)``: per row of every weight (out, in), the ``round(r·in)`` highest scores under ``context`` (tokens, in)."""
    return common_mask(weights, [context], top_fraction)


def common_mask(
    weights: Mapping[str, Tensor],
    contexts: list[Tensor],
    top_fraction: float,
    on_layer: Callable[[], None] = lambda: None,
) -> NeuronMask:
    """Logical AND of ``M(p)`` over the contexts (tokens, in) of several prompts: base (Eq. 4) or general neurons (Eq. 5).

    ``on_layer`` is called after each weight.

    Raises:
        CNSError: no contexts, their width differs from the weights', or ``r`` selects nothing.
    """
    if not contexts:
        raise CNSError("No prompts were given, so there is nothing to score.")
    layout = layout_of(weights)
    for context in contexts:
        if context.shape[-1] != layout.in_features:
            raise CNSError(
                f"CLIP gives text features of width {context.shape[-1]}, but the model's cross-attention reads "
                f"{layout.in_features}: wire the CLIP of the same checkpoint."
            )
    norms = torch.stack([feature_norms(context) for context in contexts])
    count = selected_per_row(layout.in_features, top_fraction)
    if count == 0:
        raise CNSError(
            f"top_percent {100 * top_fraction:g} selects none of a row's {layout.in_features} weights: take the paper's 30."
        )
    on_cpu = next(iter(weights.values())).device.type == "cpu"
    masks = {}
    with ThreadPoolExecutor(torch.get_num_threads() if on_cpu else 1) as pool:
        found = pool.map(lambda weight: _layer_mask(weight, norms, count), weights.values())
        try:
            for name, mask in zip(weights, found, strict=True):
                masks[name] = mask
                on_layer()
        except BaseException:  # cancelled
            pool.shutdown(cancel_futures=True)
            raise
    return NeuronMask.from_layers(layout, masks)


def _layer_mask(weight: Tensor, norms: Tensor, count: int) -> Tensor:
    """AND over prompts of the ``count`` highest ``S_ij = |W_ij| · n_j`` of each row; norms (prompts, in) -> bool (out, in)."""
    magnitude = weight.detach().float().abs()
    common = torch.ones_like(magnitude, dtype=torch.bool)
    for norm in norms.to(magnitude.device):
        common &= row_top_mask(magnitude * norm, count)
    return common
