"""K and V that change by a product of two thin matrices (LoRA, Hu et al. 2022), in the place of CNS's sparse weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from cns_core.kv_layers import KVLayer, layout_of
from cns_core.masks import NeuronMask
from cns_core.sparse_delta import SparseDelta
from cns_core.training.trainable_kv import TrainableKV

Downs = Callable[[KVLayer], Tensor]  # (rank, in) of a layer


class LowRankKV(TrainableKV):
    """``W0 + previous + up @ down``: up (out, rank) starts at 0, down (rank, in) from ``downs``. The mask is all of K/V."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        mask: NeuronMask,
        previous: SparseDelta,
        device: torch.device,
        downs: Downs,
        train_downs: bool = True,
    ) -> None:
        layers = layout_of(weights).layers
        self._downs = [downs(layer).to(device).requires_grad_(train_downs) for layer in layers]
        self._ups = [
            torch.zeros(layer.out_features, len(down), device=device, requires_grad=True)
            for layer, down in zip(layers, self._downs, strict=True)
        ]
        super().__init__(weights, mask, previous, device)

    @property
    def parameters(self) -> list[Tensor]:
        return [factor for factor in (*self._ups, *self._downs) if factor.requires_grad]

    def change(self) -> Tensor:
        """``up @ down`` of all layers, (weights,)."""
        return torch.cat([(up @ down).flatten() for up, down in zip(self._ups, self._downs, strict=True)])

    def collect_gradient(self) -> Tensor:
        """Passes the gradient by all weights on to the factors."""
        gradient = super().collect_gradient()
        for factor in self.parameters:
            factor.grad = None
        self.change().backward(gradient)
        return gradient

    @torch.no_grad()
    def write_weights(self) -> None:
        self.delta.copy_(self.previous + self.change())
        super().write_weights()


def random_downs(rank: int, seed: int) -> Downs:
    """As LoRA starts them: uniform within ``1 / √in``."""
    generator = torch.Generator().manual_seed(seed)

    def draw(layer: KVLayer) -> Tensor:
        return (2 * torch.rand(rank, layer.in_features, generator=generator) - 1) / layer.in_features**0.5

    return draw
