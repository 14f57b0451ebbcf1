"""Keeping K and V of given prompts where they are, to a tolerance: our extension of the paper's regularization.

K and V are linear in the text features: with ``D = W_m − W_{m−1}``, a token with features c moves by ``D c``. So how far all
tokens of some prompts move is a quadratic form in one small matrix, the second moment ``A`` of their features, and no prompt
has to be run again. Divided by what the weights make of those tokens, it is a share of K and V that means the same on every
model::

    R = mean over the K/V weights W of  tr(D A Dᵀ) / tr(W_{m−1} Ā W_{m−1}ᵀ)

``√R`` is held to a tolerance τ for each set of prompts. Its multiplier κ finds itself during the training: it grows while
``√R > τ`` and shrinks below, so that nothing has to be tuned to the model, the loss or the learning rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from .trainable_kv import TrainableKV

_FIRST_KAPPA, _LEAST_KAPPA, _GREATEST_KAPPA = 0.1, 1e-3, 1e3
_STEPS_PER_UPDATE = 10
_LARGEST_FACTOR = 0.5  # of one update of κ, as a logarithm
_AVERAGED_STEPS = 50  # of the task loss
_OVERSHOOT = 1.1  # what is further from where it was than this many tolerances is brought back at the end


class Row(IntEnum):
    """What a row of a prompt's text features stands for; ``OWN``: a learned token."""

    START, WORD, OWN, PADDING = range(4)


@dataclass(frozen=True, eq=False)
class Held:
    """Prompts whose K and V may move by ``tolerance`` of their size. ``moment``: see :func:`held_moment`."""

    name: str
    moment: Tensor
    tolerance: float


def held_moment(contexts: Sequence[Tensor], rows: Sequence[Tensor]) -> Tensor:
    """Second moment ``A`` of text features: ¼ start of text, ½ words, ¼ end and padding, float32 (features, features).

    A plain mean over the rows of short prompts would be one of their padding. Learned tokens count twice among the words.

    Args:
        contexts: one (tokens, features) for each prompt.
        rows: one (tokens,) for each, of :class:`Row`.
    """
    features, kinds = torch.cat(list(contexts)).float(), torch.cat(list(rows)).to(contexts[0].device)
    weights = torch.zeros(len(features), device=features.device)
    word_weight = (kinds == Row.WORD) + 2.0 * (kinds == Row.OWN)
    for share, part in ((0.25, (kinds == Row.START).float()), (0.5, word_weight), (0.25, (kinds == Row.PADDING).float())):
        weights += share * part / part.sum().clamp_min(1)
    return features.T @ (features * weights.unsqueeze(1))


class KeepTerm:
    """``L̄ · Σ_c κ_c R_c / τ_c²``, differentiable in the selected weights; L̄ is the running mean of the task loss.

    Nothing in a step waits for the device: ``κ`` and ``R``, (held,) each, stay on it.
    """

    def __init__(self, kv: TrainableKV, held: Sequence[Held]) -> None:
        device = kv.delta.device
        self._kv = kv
        self._moments = torch.stack([each.moment.to(device) for each in held])  # (held, features, features)
        self._tolerances = torch.tensor([each.tolerance for each in held], device=device)
        self._row_weights = _row_weights([p.weight.detach() for p in kv.projections.values()], self._moments.mean(0))
        self._difference = torch.zeros(kv.layout.size, device=device)
        self._kappa = torch.full_like(self._tolerances, _FIRST_KAPPA)
        self._task_loss = torch.zeros((), device=device)
        self._steps = 0
        self.moved = torch.zeros_like(self._tolerances)  # √R at the last update
        self._weigh()

    def __call__(self) -> Tensor:
        """The term, a scalar, at ``kv.delta``."""
        return self._task_loss * _QuadraticForm.apply(self._kv.delta, self)

    def value_and_gradient(self) -> tuple[Tensor, Tensor]:
        """``Σ_c κ_c R_c / τ_c²`` and its gradient by the selected weights: both need the one product ``D · Σ κ A / τ²``."""
        difference = self._differences()
        product = (difference @ self._moment) * self._row_weights
        return (product * difference).sum(), 2 * product.view(-1).index_select(0, self._kv.indices)

    @torch.no_grad()
    def after_step(self, task_loss: Tensor) -> None:
        """Follows the task loss of the step, and every ten steps what has moved."""
        self._steps += 1
        rate = 1 / min(self._steps, _AVERAGED_STEPS)
        self._task_loss = torch.lerp(self._task_loss, task_loss.detach().float(), rate)
        if self._steps % _STEPS_PER_UPDATE == 0:
            self.measure()
            factor = (self.moved / self._tolerances).log().clamp(-_LARGEST_FACTOR, _LARGEST_FACTOR).exp()
            self._kappa = (self._kappa * factor).clamp(_LEAST_KAPPA, _GREATEST_KAPPA)
            self._weigh()

    @torch.no_grad()
    def measure(self) -> Tensor:
        """``√R`` of each set of prompts, (held,): by what share of their size their K and V have moved."""
        difference = self._differences()
        gram = difference.T @ (difference * self._row_weights)
        self.moved = torch.einsum("cij,ij->c", self._moments, gram).clamp_min(0).sqrt()
        return self.moved

    def kept_share(self) -> float:
        """The factor for ``W_m − W_{m−1}`` at which nothing has moved by more than its tolerance, where something clearly has
        now; else 1. Exact, as R is quadratic.
        """
        excess = (self.measure() / self._tolerances).max().item()
        return 1.0 if excess <= _OVERSHOOT else 1 / excess

    def state_dict(self) -> dict[str, Tensor]:
        steps = torch.tensor(self._steps)
        return {"kappa": self._kappa, "moved": self.moved, "task_loss": self._task_loss, "steps": steps}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        device = self._tolerances.device
        self._kappa, self.moved, self._task_loss = (state[name].to(device) for name in ("kappa", "moved", "task_loss"))
        self._steps = int(state["steps"])
        self._weigh()

    def _weigh(self) -> None:
        self._moment = torch.einsum("c,cij->ij", self._kappa / self._tolerances**2, self._moments)

    def _differences(self) -> Tensor:
        """``W_m − W_{m−1}``: (rows of all weights, features)."""
        self._difference.index_copy_(0, self._kv.indices, self._kv.delta.detach() - self._kv.previous)
        return self._difference.view(-1, self._moments.shape[-1])


def _row_weights(weights: Sequence[Tensor], moment: Tensor) -> Tensor:
    """``1 / (number of weights · tr(W Ā Wᵀ))`` for each row of each weight W: (rows, 1)."""
    energies = [((weight @ moment) * weight).sum() for weight in weights]
    shares = [(1 / (len(weights) * energy)).expand(len(weight)) for weight, energy in zip(weights, energies, strict=True)]
    return torch.cat(shares).unsqueeze(1)


class _QuadraticForm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, delta: Tensor, term: KeepTerm) -> Tensor:
        value, gradient = term.value_and_gradient()
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(ctx, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad_outputs[0] * gradient, None
