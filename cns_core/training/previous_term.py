"""L_reg (Eq. 7), and its λ_prev from the gradients of the training's first steps, as the paper does not give it.

A number that suits one model holds nothing on another, where losses and weights have another size. Adam moves a weight by
about its learning rate a step, so after n steps against the task's gradient g the term's own gradient is ``2 λ_prev n lr``:
λ_prev is chosen so that it has reached g by then.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .trainable_kv import TrainableKV

OBSERVED_STEPS = 20
_STEPS_TO_BALANCE = 10  # n
_PRETRAINED_SHARE = 0.1  # λ_pre / λ_prev


class PreviousTerm:
    """``λ_prev ‖(W_m − W_{m−1}) ⊙ M_reg‖² + λ_pre ‖(W_m − W_0) ⊙ M_reg‖²`` (paper, Eq. 7; the norms squared as in Eq. 8).

    Args:
        shared: ``M_reg``, the positions among the n trained weights that an earlier concept trained too, int64 (k,).
        prev_weight: λ_prev. None: ``g / (2 n lr)``, g the root mean square of the task's gradient by the trained weights over
            the first 20 steps, and a tenth of it for λ_pre; both are 0 until then. Nothing waits for the device.
        pretrained_weight: λ_pre.
        neuron_lr: the learning rate of the weights.
    """

    def __init__(
        self, kv: TrainableKV, shared: Tensor, prev_weight: float | None, pretrained_weight: float, neuron_lr: float
    ) -> None:
        self._kv, self._shared = kv, shared
        self._previous = kv.previous[shared]
        self.found = prev_weight is None and len(shared) > 0 and neuron_lr > 0
        self._per_gradient = 1 / (2 * _STEPS_TO_BALANCE * neuron_lr) if self.found else 0.0
        self._squares = torch.zeros((), device=kv.delta.device)
        self._observed = 0
        self.prev_weight = torch.as_tensor(prev_weight or 0.0, device=kv.delta.device)
        self._pretrained_weight = torch.as_tensor(0.0 if prev_weight is None else pretrained_weight, device=kv.delta.device)

    def __call__(self) -> Tensor:
        """The term, a scalar, at ``kv.delta``."""
        if not len(self._shared):
            return self._kv.delta.new_zeros(())
        current = self._kv.delta[self._shared]
        held = self.prev_weight * (current - self._previous).square().sum()
        return held + self._pretrained_weight * current.square().sum()

    @property
    def wants_gradients(self) -> bool:
        return self.found and self._observed < OBSERVED_STEPS

    def observe(self, gradient: Tensor) -> None:
        """Takes the gradient (n,) of one of the first steps, unscaled; in float16 it may have overflowed."""
        self._squares += gradient.square().mean().nan_to_num(0.0, 0.0)
        self._observed += 1
        if self._observed == OBSERVED_STEPS:
            self.prev_weight = (self._squares / OBSERVED_STEPS).sqrt() * self._per_gradient
            self._pretrained_weight = _PRETRAINED_SHARE * self.prev_weight

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "squares": self._squares,
            "observed": torch.tensor(self._observed),
            "prev_weight": self.prev_weight,
            "pretrained_weight": self._pretrained_weight,
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        device = self._squares.device
        self._squares, self._observed = state["squares"].to(device), int(state["observed"])
        self.prev_weight, self._pretrained_weight = (state[k].to(device) for k in ("prev_weight", "pretrained_weight"))
