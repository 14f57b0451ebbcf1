"""The training loss (paper, Eq. 8, with the class prior of DreamBooth)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Losses:
    """Scalars; ``instance`` and ``prior`` are plain mean squared errors, ``task`` is their weighted sum.

    ``regularization`` is weighted already.
    """

    instance: Tensor
    prior: Tensor
    task: Tensor
    regularization: Tensor
    total: Tensor

    def detached(self) -> Tensor:
        """float32 (4,): instance, prior, regularization, total."""
        return torch.stack([x.detach().float() for x in (self.instance, self.prior, self.regularization, self.total)])


def concept_loss(
    predicted: Tensor,
    noise: Tensor,
    instances: int,
    prior_weight: float,
    regularization: Tensor,
    weights: Tensor | None = None,
) -> Losses:
    """``mse(instance) + λ_prior · mse(prior) + regularization`` on the noise prediction (b, 4, h, w).

    The first ``instances`` samples are the concept's, the others the class prior's. ``weights`` (instances, 1, h, w): what each
    place of an instance counts. Its error is then ``Σ w (ε̂ − ε)² / Σ w`` over places and channels, so that a small mask
    teaches as much as a large one.
    """
    squared = (predicted.float() - noise) ** 2
    instance = squared[:instances].mean() if weights is None else _weighted_mean(squared[:instances], weights)
    prior = squared[instances:].mean() if len(squared) > instances else instance.new_zeros(())
    task = instance + prior_weight * prior
    return Losses(instance, prior, task, regularization, task + regularization)


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Of each sample (b, c, h, w) by itself, then over the samples."""
    weights = weights.expand_as(values)
    return ((weights * values).flatten(1).sum(1) / weights.flatten(1).sum(1)).mean()
