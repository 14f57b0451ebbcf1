"""A set of K/V weights, one bit each (2.4 MB for SD-1.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .errors import CNSError
from .kv_layers import KVLayer, KVLayout

_BITS_SET = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class NeuronMask:
    """An immutable subset of the flat K/V vector; ``bits`` is uint8, ceil(size / 8) bytes, most significant bit first."""

    layout: KVLayout
    bits: np.ndarray

    def __post_init__(self) -> None:
        expected = (self.layout.size + 7) // 8
        if self.bits.dtype != np.uint8 or self.bits.shape != (expected,):
            raise CNSError(f"A mask over {self.layout.size:,} weights takes {expected:,} bytes, but it has {self.bits.size:,}.")
        if self.layout.size % 8 and self.bits[-1] & (0xFF >> self.layout.size % 8):
            raise CNSError(f"A mask over {self.layout.size:,} weights has bits set beyond the last of them.")
        self.bits.setflags(write=False)

    @staticmethod
    def empty(layout: KVLayout) -> NeuronMask:
        return NeuronMask(layout, np.zeros((layout.size + 7) // 8, dtype=np.uint8))

    @staticmethod
    def full(layout: KVLayout) -> NeuronMask:
        return NeuronMask.from_flat(layout, np.ones(layout.size, dtype=bool))

    @staticmethod
    def from_flat(layout: KVLayout, selected: np.ndarray) -> NeuronMask:
        """From a boolean vector (size,)."""
        return NeuronMask(layout, np.packbits(selected))

    @staticmethod
    def from_layers(layout: KVLayout, selected: Mapping[str, Tensor]) -> NeuronMask:
        """From one boolean matrix (out, in) for every layer name of the layout."""
        return NeuronMask.from_flat(layout, np.concatenate([selected[x.name].cpu().numpy().ravel() for x in layout.layers]))

    def flat(self) -> np.ndarray:
        """Boolean vector (size,)."""
        return np.unpackbits(self.bits, count=self.layout.size).view(bool)

    def layer(self, layer: KVLayer) -> Tensor:
        """Boolean matrix (out, in)."""
        first, last = layer.offset // 8, -(-(layer.offset + layer.size) // 8)
        bits = np.unpackbits(self.bits[first:last])[layer.offset - first * 8 :][: layer.size]
        return torch.from_numpy(bits.view(bool)).view(layer.out_features, layer.in_features)

    @property
    def indices(self) -> Tensor:
        """Ascending positions in the flat vector, int64 (count,); found each time, as they would take too much memory."""
        return torch.from_numpy(np.flatnonzero(self.flat()))

    @cached_property
    def count(self) -> int:
        return int(_BITS_SET[self.bits].sum(dtype=np.int64))

    @property
    def share(self) -> float:
        """Selected weights over all K/V weights."""
        return self.count / self.layout.size

    def layer_counts(self) -> dict[str, int]:
        return {layer.name: int(self.layer(layer).sum()) for layer in self.layout.layers}

    def __and__(self, other: NeuronMask) -> NeuronMask:
        return NeuronMask(self.layout, self.bits & self._bits_of(other))

    def __or__(self, other: NeuronMask) -> NeuronMask:
        return NeuronMask(self.layout, self.bits | self._bits_of(other))

    def without(self, other: NeuronMask) -> NeuronMask:
        """``self ∧ ¬other``."""
        return NeuronMask(self.layout, self.bits & ~self._bits_of(other))

    def iou(self, other: NeuronMask) -> float:
        """Intersection over union; 0 where both are empty."""
        shared = (self & other).count
        union = self.count + other.count - shared
        return shared / union if union else 0.0

    def equals(self, other: NeuronMask) -> bool:
        return self.layout == other.layout and bool(np.array_equal(self.bits, other.bits))

    def _bits_of(self, other: NeuronMask) -> np.ndarray:
        self.layout.check_same(other.layout, "The other mask")
        return other.bits
