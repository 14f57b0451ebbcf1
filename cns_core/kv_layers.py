"""The weights CNS works on: ``to_k`` and ``to_v`` of every cross-attention (``attn2``) block, in module order.

All of them together are treated as one flat vector (layer after layer, each row-major), so that a mask, a delta and
an optimizer state are one tensor each. SD-1.5 has 32 such matrices with 19,169,280 weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from .errors import CNSError

_CROSS_ATTENTION = "attn2"
_PROJECTIONS = ("to_k", "to_v")
_PROBES = 4  # per matrix; 128 numbers for SD-1.5


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


def find_kv_modules(model: nn.Module) -> dict[str, nn.Module]:
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


@dataclass(frozen=True)
class Fingerprint:
    """Tells checkpoints apart by their K/V weights, whatever precision they are loaded in.

    ``values`` are ``PROBES`` random ±1 projections ``aᵀ W b / ‖W‖_F`` of each matrix, numbers of order 1. Two copies of
    one checkpoint differ by rounding only, a fifth of ``precision`` (the machine epsilon of the coarser storage); a
    fine-tune whose K/V moved by x % differs by about x / 100. ``name`` is the checkpoint's file, for people, where known.
    """

    values: tuple[float, ...]
    precision: float
    name: str = field(default="", compare=False)

    @staticmethod
    def of(weights: Mapping[str, Tensor]) -> Fingerprint:
        values: list[float] = []
        precision = torch.finfo(torch.float16).eps
        for index, weight in enumerate(weights.values()):
            matrix = weight.detach().float()
            rows = _signs(f"rows{index}", (_PROBES, matrix.shape[0])).to(matrix.device)
            columns = _signs(f"columns{index}", (matrix.shape[1], _PROBES)).to(matrix.device)
            norm = matrix.norm().clamp_min(torch.finfo(torch.float32).tiny)
            values += ((rows @ matrix @ columns).diagonal() / norm).tolist()
            precision = max(precision, torch.finfo(weight.dtype).eps)
        return Fingerprint(tuple(values), precision)

    def distance(self, other: Fingerprint) -> float:
        """Root mean square difference of the projections, about ``‖W − W'‖ / ‖W‖``; infinite for other layer counts."""
        if len(self.values) != len(other.values):
            return float("inf")
        return float(np.sqrt(np.mean((np.array(self.values) - np.array(other.values)) ** 2)))

    def matches(self, other: Fingerprint) -> bool:
        """At float8's coarse precision half of it is enough, and what a fine-tune stays within should be little."""
        coarser = max(self.precision, other.precision)
        return self.distance(other) < (coarser / 3 if coarser > torch.finfo(torch.bfloat16).eps else coarser)

    @property
    def short(self) -> str:
        """Twelve hexadecimal digits for people, the signs of the first 48 projections: rounding turns one in a hundred
        checkpoints' digits, closely related checkpoints have similar ones. Programs compare with :meth:`matches`.
        """
        signs = np.zeros(48, dtype=np.uint8)
        known = np.array(self.values[:48]) > 0
        signs[: len(known)] = known
        return np.packbits(signs).tobytes().hex()

    @property
    def title(self) -> str:
        return f"{self.name} ({self.short})" if self.name else self.short

    def check_same(self, other: Fingerprint, what: str, remedy: str = "") -> None:
        """Raises CNSError naming both fingerprints where ``other`` (of ``what``) is of another checkpoint."""
        if not self.matches(other):
            remedy = remedy or f"load {other.name or 'that one; whoever made the state knows which it is'}"
            raise CNSError(
                f"{what} was made for the checkpoint with fingerprint {other.title}, but the one it is used with has "
                f"fingerprint {self.title} (K/V weights differ by {self.distance(other):.1%}): {remedy}."
            )


def _signs(label: str, shape: tuple[int, int]) -> Tensor:
    """Reproducible ±1 numbers, independent of any library's random generator."""
    count = shape[0] * shape[1]
    raw = np.frombuffer(hashlib.shake_256(label.encode()).digest((count + 7) // 8), dtype=np.uint8)
    bits = np.unpackbits(raw)[:count].reshape(shape)
    return torch.from_numpy(bits.astype(np.float32) * 2 - 1)
