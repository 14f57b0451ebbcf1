"""The weights CNS works on: ``to_k`` and ``to_v`` of every cross-attention (``attn2``) block, in module order.

All of them together are treated as one flat vector (layer after layer, each row-major), so that a mask, a delta and
an optimizer state are one tensor each. SD-1.5 has 32 such matrices with 19,169,280 weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from .errors import CNSError

_CROSS_ATTENTION = "attn2"
_PROJECTIONS = ("to_k", "to_v")


@dataclass(frozen=True)
class KVLayer:
    """One projection: weight ``(out, in)``, ``in`` the width of the text features, at ``offset`` of the flat vector."""

    name: str
    out_features: int
    in_features: int
    offset: int

    @property
    def size(self) -> int:
        return self.out_features * self.in_features

    @property
    def span(self) -> slice:
        return slice(self.offset, self.offset + self.size)


@dataclass(frozen=True)
class KVLayout:
    """Names, shapes and order of a model's K/V weights; two models with equal layouts can share a mask."""

    layers: tuple[KVLayer, ...]

    @staticmethod
    def from_shapes(shapes: Mapping[str, tuple[int, int]]) -> KVLayout:
        layers, offset = [], 0
        for name, (out_features, in_features) in shapes.items():
            layers.append(KVLayer(name, out_features, in_features, offset))
            offset += out_features * in_features
        return KVLayout(tuple(layers))

    @cached_property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers)

    @cached_property
    def in_features(self) -> int:
        return self.layers[0].in_features

    def shapes(self) -> dict[str, tuple[int, int]]:
        return {layer.name: (layer.out_features, layer.in_features) for layer in self.layers}

    def check_same(self, other: KVLayout, what: str) -> None:
        """Raises CNSError where ``other`` has other layers than this layout."""
        if self != other:
            raise CNSError(
                f"{what} has {len(other.layers)} K/V matrices with {other.size:,} weights, but this model has "
                f"{len(self.layers)} with {self.size:,}: they belong to different model architectures."
            )


def find_kv_modules(model: nn.Module) -> dict[str, nn.Linear]:
    """The ``attn2.to_k`` / ``attn2.to_v`` modules of any diffusion UNet, by name relative to ``model``, in module order.

    Raises:
        CNSError: the model has no cross-attention, or its text widths differ from layer to layer.
    """
    found = {
        f"{parent}.{child}": getattr(module, child)
        for parent, module in model.named_modules()
        if parent.rpartition(".")[2] == _CROSS_ATTENTION
        for child in _PROJECTIONS
        if hasattr(module, child)
    }
    if not found:
        raise CNSError(f"{type(model).__name__} has no cross-attention blocks named attn2, so there is nothing to teach.")
    widths = {module.weight.shape[1] for module in found.values()}
    if len(widths) > 1:
        raise CNSError(f"The cross-attention blocks read text features of different widths {sorted(widths)}; SD-1.5 has one.")
    return found


def layout_of(weights: Mapping[str, Tensor]) -> KVLayout:
    """Layout of named weights ``(out, in)``."""
    return KVLayout.from_shapes({name: (weight.shape[0], weight.shape[1]) for name, weight in weights.items()})
