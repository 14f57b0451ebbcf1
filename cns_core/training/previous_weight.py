"""λ_prev of equation 7, which the paper does not give, from the gradients of the training's first steps.

A number that suits one model holds nothing on another, where losses and weights have another size. Adam moves a weight by
about its learning rate a step, so after n steps against the task's gradient g the term's own gradient is ``2 λ_prev n lr``:
λ_prev is chosen so that it has reached g by then.
"""

from __future__ import annotations

import torch
from torch import Tensor

OBSERVED_STEPS = 20
_STEPS_TO_BALANCE = 10  # n
_PRETRAINED_SHARE = 0.1  # λ_pre / λ_prev


class PreviousWeight:
    """``λ_prev = g / (2 n lr)``, g the root mean square of the task's gradient over the mask; 0 until it is known.

    Everything stays on the device.
    """

    def __init__(self, neuron_lr: float, device: torch.device) -> None:
        self._per_gradient = 1 / (2 * _STEPS_TO_BALANCE * neuron_lr) if neuron_lr > 0 else 0.0
        self._squares = torch.zeros((), device=device)
        self._steps = 0
        self.value = torch.zeros((), device=device)

    @property
    def known(self) -> bool:
        return self._steps == OBSERVED_STEPS

    @property
    def pretrained(self) -> Tensor:
        """λ_pre."""
        return _PRETRAINED_SHARE * self.value

    def observe(self, gradient: Tensor) -> None:
        """Takes the gradient (n,) of one of the first steps, unscaled; in float16 it may have overflowed."""
        self._squares += gradient.square().mean().nan_to_num(0.0, 0.0)
        self._steps += 1
        if self.known:
            self.value = (self._squares / OBSERVED_STEPS).sqrt() * self._per_gradient
