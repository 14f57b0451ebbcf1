"""Keeping K and V of given prompts where they are, to a tolerance: our extension of the paper's regularization.

Each concept is held to what its prompts read right after it was taught, from weights ``W_c``; ordinary prompts to the
checkpoint. So the tolerance bounds what all later trainings do together, however many there are.

K and V are linear in the text features: with ``D_c = W − W_c``, a token with features x moves by ``D_c x``. So how far all
tokens of some prompts move is a quadratic form in one small matrix, the second moment ``A_c`` of their features, and no prompt
has to be run again. Divided by what the weights make of those tokens, it is a share of K and V that means the same on every
model::

    R_c = mean over the K/V weights W of  tr(D_c A_c D_cᵀ) / tr(W_{m−1} Ā W_{m−1}ᵀ)

``√R_c`` is held to a tolerance τ_c. Its multiplier κ_c finds itself during the training: it grows while ``√R_c > τ_c`` and
shrinks below, so that nothing has to be tuned to the model, the loss or the learning rate.

``D_c = D + O_c``, the change of this training and that of those before. Of O_c only ``O_c F_c`` counts, with ``A_c = F_c F_cᵀ``
of low rank, so that an earlier concept takes a thin matrix and not a copy of all weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from .trainable_kv import TrainableKV

_FIRST_KAPPA, _LEAST_KAPPA, _GREATEST_KAPPA = 0.1, 1e-3, 1e3
_STEPS_PER_UPDATE = 10
_LARGEST_FACTOR = 0.5  # of one update of κ, as a logarithm
_AVERAGED_STEPS = 50  # of the task loss
_OVERSHOOT = 1.1  # what is further than this many tolerances, or times where it was before, is brought back at the end
_LEFT_OUT = 1e-4  # of a moment's trace, by its low-rank factor
_OFFSET = torch.bfloat16  # 15 MB a concept at SD 1.5's size; rounding errors of single rows cancel in R
_COPIES = 4  # of all K/V weights at once while the term's gradient is computed


class Row(IntEnum):
    """What a row of a prompt's text features stands for; ``OWN``: a learned token."""

    START, WORD, OWN, PADDING = range(4)


@dataclass(frozen=True, eq=False)
class Held:
    """Prompts whose K and V may be ``tolerance`` of their size from where they were.

    ``factor``: float32 (features, rank), see :func:`factor_of`. ``offset``: bfloat16 (rows of all K/V weights, rank), ``O F``,
    with O what the weights changed by since then, before this training.
    """

    name: str
    factor: Tensor
    offset: Tensor
    tolerance: float

    @staticmethod
    def of(name: str, moment: Tensor, tolerance: float, change: Tensor) -> Held:
        """``moment``: see :func:`held_moment`. ``change``: O, (weights,)."""
        factor = factor_of(moment)
        return Held(name, factor, (change.view(-1, len(factor)) @ factor).to(_OFFSET), tolerance)


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


def factor_of(moment: Tensor) -> Tensor:
    """F of the least rank with ``F Fᵀ ≈ A``: float32 (features, rank)."""
    values, vectors = torch.linalg.eigh(moment.cpu())  # ascending
    values = values.clamp_min(0)
    left_out = int((values.cumsum(0) < _LEFT_OUT * values.sum()).sum())
    return (vectors * values.sqrt())[:, left_out:]


def bytes_of(held: Sequence[Held], weights: int) -> int:
    """What the term takes on the device beside so many weights."""
    kept = sum(each.factor.nbytes + each.offset.nbytes for each in held)
    return kept + 4 * _COPIES * weights if held else 0


class KeepTerm:
    """``L̄ · Σ_c κ_c R_c / τ_c²``, differentiable in the selected weights; L̄ is the running mean of the task loss.

    What was clearly further than its tolerance before the training is held to come back a little. Nothing in a step waits for
    the device: ``κ`` and ``R``, (held,) each, stay on it.
    """

    def __init__(self, kv: TrainableKV, held: Sequence[Held]) -> None:
        device = kv.delta.device
        self._kv = kv
        self._factors = [each.factor.to(device) for each in held]
        self._offsets = [each.offset.to(device) for each in held]
        self._row_weights = _row_weights([p.weight.detach() for p in kv.projections.values()], self._factors)
        self._difference = torch.zeros(kv.layout.size, device=device)
        tolerances = torch.tensor([each.tolerance for each in held], device=device)
        self._before = self._per_held(lambda factor, offset: self._size(offset)).sqrt()  # √R before this training
        self._tolerances = torch.maximum(tolerances, self._before / _OVERSHOOT)
        self._limits = _OVERSHOOT * torch.maximum(tolerances, self._before)
        self._kappa = torch.full_like(self._tolerances, _FIRST_KAPPA)
        self._task_loss = torch.zeros((), device=device)
        self._steps = 0
        self.moved = self._before  # √R at the last update
        self._weigh()

    def __call__(self) -> Tensor:
        """The term, a scalar, at ``kv.delta``."""
        return self._task_loss * _QuadraticForm.apply(self._kv.delta, self)

    def value_and_gradient(self) -> tuple[Tensor, Tensor]:
        """``Σ_c κ_c R_c / τ_c²`` and its gradient by the selected weights: both need the one product ``D · Σ κ A / τ²``."""
        difference = self._differences()
        half = (difference @ self._moment).mul_(self._row_weights).add_(self._offset)  # of the gradient
        value = self._at_start + difference.view(-1).dot(half.view(-1)) + difference.view(-1).dot(self._offset.view(-1))
        return value, 2 * half.view(-1).index_select(0, self._kv.indices)

    @torch.no_grad()
    def after_step(self, task_loss: Tensor) -> None:
        """Follows the task loss of the step, and every ten steps what has moved."""
        self._steps += 1
        rate = 1 / min(self._steps, _AVERAGED_STEPS)
        self._task_loss = torch.lerp(self._task_loss, task_loss.detach().float(), rate)
        if self._steps % _STEPS_PER_UPDATE == 0:
            self.moved = self.measure()
            factor = (self.moved / self._tolerances).log().clamp(-_LARGEST_FACTOR, _LARGEST_FACTOR).exp()
            self._kappa = (self._kappa * factor).clamp(_LEAST_KAPPA, _GREATEST_KAPPA)
            self._weigh()

    @torch.no_grad()
    def measure(self, share: float = 1.0) -> Tensor:
        """``√R`` of each set of prompts, (held,): by what share of their size their K and V are from where they were, with so
        much of ``D``.
        """
        difference = self._differences()
        return self._per_held(lambda factor, offset: self._size(share * (difference @ factor) + offset)).sqrt()

    @torch.no_grad()
    def kept_share(self) -> float:
        """The largest factor for ``D``, at most 1, at which nothing is further than 1.1 of its tolerances, or of where it was
        before. Exact, as ``R`` is quadratic in it.
        """
        difference = self._differences()
        slopes = self._per_held(lambda factor, offset: (self._row_weights * (difference @ factor) * offset).sum())
        squares = self._per_held(lambda factor, offset: self._size(difference @ factor))
        room = self._limits.square() - self._before.square()
        roots = (slopes.square() + squares * room).sqrt() - slopes
        return torch.where(squares > 0, roots / squares, 1.0).min().clamp(0, 1).item()

    def state_dict(self) -> dict[str, Tensor]:
        steps = torch.tensor(self._steps)
        return {"kappa": self._kappa, "moved": self.moved, "task_loss": self._task_loss, "steps": steps}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        device = self._tolerances.device
        self._kappa, self.moved, self._task_loss = (state[name].to(device) for name in ("kappa", "moved", "task_loss"))
        self._steps = int(state["steps"])
        self._weigh()

    def _weigh(self) -> None:
        """``Σ_c κ_c / τ_c²`` times ``A_c``, ``O_c A_c`` (rows weighted) and ``R_c`` at the start."""
        weights = self._kappa / self._tolerances**2
        features = len(self._factors[0])
        self._moment = self._kappa.new_zeros(features, features)
        self._offset = self._kappa.new_zeros(len(self._row_weights), features)
        for weight, factor, offset in zip(weights, self._factors, self._offsets, strict=True):
            weighted = (weight * factor).T
            self._moment.addmm_(factor, weighted)
            self._offset.addmm_(offset.float(), weighted)
        self._offset.mul_(self._row_weights)
        self._at_start = weights.dot(self._before.square())

    def _per_held(self, value: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        return torch.stack([value(factor, offset.float()) for factor, offset in zip(self._factors, self._offsets, strict=True)])

    def _size(self, rows: Tensor) -> Tensor:
        """``R`` of ``D F``, (rows of all weights, rank)."""
        return (self._row_weights * rows.square()).sum()

    def _differences(self) -> Tensor:
        """``W_m − W_{m−1}``: (rows of all weights, features)."""
        self._difference.index_copy_(0, self._kv.indices, self._kv.delta.detach() - self._kv.previous)
        return self._difference.view(len(self._row_weights), -1)


def _row_weights(weights: Sequence[Tensor], factors: Sequence[Tensor]) -> Tensor:
    """``1 / (number of weights · tr(W Ā Wᵀ))`` for each row of each weight W: (rows, 1)."""
    moment = torch.stack([factor @ factor.T for factor in factors]).mean(0)
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
