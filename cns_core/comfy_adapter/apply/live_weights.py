"""Writes a state into the weights a model runs on: ComfyUI without dynamic VRAM, and whatever it loads as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..sparse_adapter import SparseDeltaAdapter


class Original:
    """Entry of ComfyUI's ``backup``: the weight without the delta, for anyone who asks a clone of the model for it."""

    inplace_update = True

    def __init__(self, weight: Tensor, positions: Tensor, values: Tensor) -> None:
        self._weight, self._positions, self._values = weight, positions, values

    @property
    def weight(self) -> Tensor:
        original = self._weight.detach().clone()
        put(self._positions, self._values, original)
        return original


class LiveWrite:
    """A state in the weights themselves, and what was there before. ``owner``: whose state it is."""

    def __init__(self, patcher: ModelPatcher) -> None:
        self.owner = id(patcher)
        self._device: torch.device = patcher.load_device
        self._backup: dict = patcher.backup  # shared by all clones of the model
        self._saved: dict[str, tuple[Tensor, Tensor]] = {}  # weight key -> positions, values

    def write(self, base: nn.Module, adapters: Mapping[str, SparseDeltaAdapter], strength: float) -> None:
        weights = {key: base.get_parameter(key) for key in adapters}
        self._wait_for_reads(weights.values())
        for key, adapter in adapters.items():
            weight = weights[key]
            self._saved[key] = taken(weight, adapter)
            add(weight, adapter, strength)
            self._backup[key] = Original(weight, *self._saved[key])

    def put_back(self, base: nn.Module) -> None:
        weights = {key: base.get_parameter(key) for key in self._saved}
        self._wait_for_reads(weights.values())
        for key, (positions, values) in self._saved.items():
            put(positions, values, weights[key])
            if isinstance(self._backup.get(key), Original):
                del self._backup[key]

    def is_in(self, base: nn.Module, key: str) -> bool:
        """Whether the weight itself has the state."""
        return key in self._saved

    def _wait_for_reads(self, weights: Iterable[Tensor]) -> None:
        """Weights in pinned memory, with little VRAM, are copied to the device by its side streams, perhaps still now."""
        synchronize = getattr(getattr(torch, self._device.type, None), "synchronize", None)
        if synchronize is not None and any(weight.device.type != self._device.type for weight in weights):
            synchronize()


def taken(weight: Tensor, adapter: SparseDeltaAdapter) -> tuple[Tensor, Tensor]:
    """Positions, and a copy of the values there. Both on the CPU: nothing stays on the device but the weights."""
    positions = adapter.weights[0]
    return positions, weight.view(-1).index_select(0, positions.to(weight.device)).cpu()


def add(weight: Tensor, adapter: SparseDeltaAdapter, strength: float) -> None:
    """``W + strength · delta`` in float32, rounded to the nearest."""
    positions, delta = (tensor.to(weight.device) for tensor in adapter.weights)
    flat = weight.view(-1)
    values = flat.index_select(0, positions).float() + strength * delta
    flat.index_copy_(0, positions, values.to(weight.dtype))


def put(positions: Tensor, values: Tensor, weight: Tensor) -> None:
    weight.view(-1).index_copy_(0, positions.to(weight.device), values.to(weight.device))
