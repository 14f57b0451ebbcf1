"""Keeping K and V of given prompts where they are: our extension of the paper's regularization.

K and V are linear in the text features: a prompt with conditioning C (rows: tokens) keeps its K or V exactly where
``C (W_m − W_{m−1})ᵀ = 0``. The mean square of that product over the prompts' tokens and the layer's outputs is a quadratic form
in the second moment ``A = CᵀC / rows(C)`` of the text features, so no prompt has to be run again: one product with a small
matrix a step, whatever the number of prompts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..kv_layers import KVLayout


def second_moment(contexts: Sequence[Tensor]) -> Tensor:
    """``CᵀC / rows(C)`` over the token rows of all contexts (..., tokens, features): float32 (features, features)."""
    rows = torch.cat([context.reshape(-1, context.shape[-1]).float() for context in contexts])
    return rows.T @ rows / len(rows)


class KeepTerm:
    """``Σ_W tr(D A Dᵀ) / out`` with ``D = W_m − W_{m−1}``, differentiable in the selected weights.

    Args:
        layout: of the K/V weights.
        indices: flat positions of the selected weights, int64 (n,).
        previous: ``W_{m−1} − W_0`` there, float32 (n,).
        moment: ``A``, float32 (features, features); carries the weight λ.
    """

    def __init__(self, layout: KVLayout, indices: Tensor, previous: Tensor, moment: Tensor) -> None:
        rows = torch.cat([torch.full((layer.out_features,), 1.0 / layer.out_features) for layer in layout.layers])
        self._row_weights = rows.to(moment.device).unsqueeze(1)
        self._difference = torch.zeros(layout.size, device=moment.device)
        self._indices, self._previous, self._moment = indices, previous, moment

    def __call__(self, delta: Tensor) -> Tensor:
        """The term, a scalar, at ``delta = W_m − W_0`` (n,)."""
        return _QuadraticForm.apply(delta, self)

    def value_and_gradient(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """The term and its gradient by ``delta``: both need the one product ``D A``."""
        self._difference.index_copy_(0, self._indices, delta - self._previous)
        difference = self._difference.view(-1, self._moment.shape[0])
        product = (difference @ self._moment) * self._row_weights
        return (product * difference).sum(), 2 * product.view(-1).index_select(0, self._indices)


class _QuadraticForm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, delta: Tensor, term: KeepTerm) -> Tensor:
        value, gradient = term.value_and_gradient(delta)
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(ctx, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad_outputs[0] * gradient, None
