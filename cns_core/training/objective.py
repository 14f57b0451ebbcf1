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


def concept_loss(predicted: Tensor, noise: Tensor, instances: int, prior_weight: float, regularization: Tensor) -> Losses:
    """``mse(instance) + λ_prior · mse(prior) + regularization`` on the noise prediction (b, 4, h, w).

    The first ``instances`` samples are the concept's, the others the class prior's.
    """
    squared = (predicted.float() - noise) ** 2
    instance = squared[:instances].mean()
    prior = squared[instances:].mean() if len(squared) > instances else instance.new_zeros(())
    task = instance + prior_weight * prior
    return Losses(instance, prior, task, regularization, task + regularization)
