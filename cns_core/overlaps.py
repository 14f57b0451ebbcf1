"""What masks have in common: the numbers behind the paper's figures 3 and 7."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import CNSError
from .masks import NeuronMask


def overlaps(masks: Sequence[NeuronMask]) -> np.ndarray:
    """Intersection over union of every pair: float64 (n, n), ones on the diagonal."""
    matrix = np.ones((len(masks), len(masks)))
    for row in range(len(masks)):
        for column in range(row):
            matrix[row, column] = matrix[column, row] = masks[row].iou(masks[column])
    return matrix


def shared_by_prompts(masks: Sequence[NeuronMask]) -> np.ndarray:
    """Share of the first prompt's selection that the first 1, 2, …, n prompts have in common: float64 (n,).

    Raises:
        CNSError: no masks.
    """
    if not masks:
        raise CNSError("No prompts were given, so there is nothing to compare.")
    common, counts = masks[0], []
    for mask in masks:
        common = common & mask
        counts.append(common.count)
    return np.array(counts) / masks[0].count


def new_to(masks: Sequence[NeuronMask]) -> list[float]:
    """For each mask in order, the share of its weights that none before it has; 0 for an empty one."""
    shares, used = [], None
    for mask in masks:
        fresh = mask if used is None else mask.without(used)
        shares.append(fresh.count / mask.count if mask.count else 0.0)
        used = mask if used is None else used | mask
    return shares
