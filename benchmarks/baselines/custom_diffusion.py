"""Custom Diffusion (Kumari et al. 2023): all of K and V and a token, one concept after another; or each on its own, merged."""

from __future__ import annotations

import torch
from torch import Tensor

from .method import Method

_LEAST_EXTENT = 1e-7  # squared, of the largest


def constrained_least_squares(pretrained: Tensor, tuned: list[Tensor], features: list[Tensor], ordinary: Tensor) -> Tensor:
    """``argmin_W ‖(W − W0) C_regᵀ‖`` subject to ``W Cᵀ = V`` (section 3.2, eq. 4 and 5): every concept's words get the K and V
    its own training gave them, and those of ordinary prompts change as little as that allows.

    Where words of two concepts are the same, the constraint holds for the mean of both.
    """
    targets, base = torch.cat(features).double(), pretrained.double()
    values = torch.cat([rows.double() @ weight.double().T for rows, weight in zip(features, tuned, strict=True)])
    ordinary = ordinary.double()
    # CLIP's last layer norm leaves text features a direction without extent: its inverse would be huge, and of no effect.
    inverse = torch.linalg.pinv(ordinary.T @ ordinary, rtol=_LEAST_EXTENT, hermitian=True)
    directions = inverse @ targets.T  # dᵀ in the paper
    multipliers = (values.T - base @ targets.T) @ torch.linalg.pinv(targets @ directions, hermitian=True)
    return (base + multipliers @ directions.T).float()


CUSTOM_DIFFUSION = Method("Custom Diffusion", settings={"neuron_lr": 0.0003})
CUSTOM_DIFFUSION_MERGED = Method("Custom Diffusion, merged", settings={"neuron_lr": 0.001}, fuse=constrained_least_squares)
