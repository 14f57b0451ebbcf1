"""The difference to the pretrained K/V weights: one value for each weight of a mask, none elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import CNSError
from .kv_layers import KVLayer, KVLayout
from .masks import NeuronMask


@dataclass(frozen=True, eq=False)
class SparseDelta:
    """``W − W0`` at ``mask``: ``values`` float32 (mask.count,), in the flat vector's order."""

    mask: NeuronMask
    values: Tensor

    def __post_init__(self) -> None:
        if self.values.dtype != torch.float32 or self.values.shape != (self.mask.count,):
            raise CNSError(
                f"A delta over {self.mask.count:,} weights takes as many float32 values, but it has "
                f"{tuple(self.values.shape)} of {self.values.dtype}."
            )

    @staticmethod
    def zero(layout: KVLayout) -> SparseDelta:
        return SparseDelta(NeuronMask.empty(layout), torch.zeros(0))

    def at(self, mask: NeuronMask) -> Tensor:
        """The delta at another mask's positions, 0 where this delta has none: float32 (mask.count,)."""
        return self.flat()[mask.indices]

    def updated(self, mask: NeuronMask, values: Tensor) -> SparseDelta:
        """This delta with ``values`` (mask.count,) in place of what stood at ``mask``; the rest stays."""
        flat = self.flat()
        flat[mask.indices] = values.detach().float().cpu()
        merged = self.mask | mask
        return SparseDelta(merged, flat[merged.indices])

    def flat(self) -> Tensor:
        """Dense float32 vector (size,)."""
        flat = torch.zeros(self.mask.layout.size)
        flat[self.mask.indices] = self.values
        return flat

    def layers(self) -> Iterator[tuple[KVLayer, Tensor, Tensor]]:
        """For each touched layer: the layer, positions in its own flattened weight (int64), values (float32)."""
        indices = self.mask.indices
        bounds = torch.tensor([layer.offset for layer in self.mask.layout.layers] + [self.mask.layout.size])
        cuts = torch.searchsorted(indices, bounds).tolist()
        for layer, start, stop in zip(self.mask.layout.layers, cuts[:-1], cuts[1:], strict=True):
            if stop > start:
                yield layer, indices[start:stop] - layer.offset, self.values[start:stop]
