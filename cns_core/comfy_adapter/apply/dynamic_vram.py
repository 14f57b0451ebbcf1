"""Brings a state into a model that ComfyUI keeps in dynamic VRAM, as it does by default on most cards since 0.16.

The weights then stay in RAM or in their file, and are never written. A module has an address range ``_v`` on the card; whenever
its resident copy there is not the one of ``_v_signature``, ComfyUI copies the weight in and changes that copy by
``weight_lowvram_function``, where LoRAs are. A state joins them at the K/V modules alone, and marks those as not resident: the
next use copies 38 MB of SD 1.5, where patches would make it copy all of it.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from comfy.model_patcher import LowVramPatch, ModelPatcher
from torch import Tensor, nn

from ..sparse_adapter import SparseDeltaAdapter
from .live_weights import add, put, taken


class CannotWrite(Exception):
    """This ComfyUI's dynamic VRAM works in another way."""


class _Function(LowVramPatch):
    """Changes a module's copy on the card as the load wanted, and then by the state."""

    def __init__(self, module: Any, key: str, patch: tuple) -> None:
        self.module, self.loaded = module, module.weight_lowvram_function
        super().__init__(key, {key: [*(self.loaded.patches[key] if self.loaded is not None else []), patch]})
        if hasattr(module, "_pin_state"):  # where newer ComfyUI keeps pinned copies of patches
            self._pin_state = module._pin_state

    def __call__(self, weight: Tensor) -> Tensor:
        try:
            return super().__call__(weight)
        except BaseException:  # ComfyUI has declared the unchanged copy resident already, and would not bring it again
            self.module._v_signature = None
            vars(self.module).pop("_prefetch", None)
            raise


@dataclass(frozen=True, eq=False)
class _Resident:
    """A module's copy on the card as a state left it; ``content`` says what it was made of."""

    content: tuple
    address: object
    copy: object
    signature: object

    @classmethod
    def of(cls, module: Any, content: tuple) -> _Resident:
        return cls(content, module._v, getattr(module, "_v_weight", None), module._v_signature)

    def is_still(self, module: Any, content: tuple) -> bool:
        """Whether nothing else has been copied there since. ComfyUI notices by the signature if it has been evicted."""
        same_place = module._v is self.address and getattr(module, "_v_weight", None) is self.copy
        return same_place and module._v_signature is None and content == self.content


_resident: weakref.WeakKeyDictionary[nn.Module, _Resident] = weakref.WeakKeyDictionary()


class DynamicWrite:
    """A state in the copies on the card. ``owner``: whose state it is."""

    def __init__(self, patcher: ModelPatcher) -> None:
        self.owner = id(patcher)
        self._patches_uuid, self._copied = patcher.patches_uuid, patcher.backup.keys()
        self._functions: list[tuple[_Function, tuple]] = []
        self._saved: dict[str, tuple[Tensor, Tensor, Tensor]] = {}  # weight key -> the copy, positions, values

    def write(self, base: nn.Module, adapters: Mapping[str, SparseDeltaAdapter], strength: float) -> None:
        """
        Raises:
            CannotWrite: some module is neither kept as above nor loaded as a whole; nothing has been written then.
        """
        modules: dict[str, Any] = {key: base.get_submodule(key.rpartition(".")[0]) for key in adapters}
        if not all(_streamed(module) or self._loaded(key, module) for key, module in modules.items()):
            raise CannotWrite
        for key, adapter in adapters.items():
            module = modules[key]
            if _streamed(module):
                self._change(module, key, adapter, strength)
            else:
                weight = base.get_parameter(key)
                self._saved[key] = (weight, *taken(weight, adapter))
                add(weight, adapter, strength)

    def put_back(self, base: nn.Module) -> None:
        for function, content in self._functions:
            module = function.module
            if module.weight_lowvram_function is function:
                module.weight_lowvram_function = function.loaded
            if _streamed(module) and module._v_signature is not None:
                _resident[module] = _Resident.of(module, content)
            module._v_signature = None
        for key, (weight, positions, values) in self._saved.items():
            if base.get_parameter(key) is weight:  # ComfyUI throws such copies away to free memory
                put(positions, values, weight)

    def is_in(self, base: nn.Module, key: str) -> bool:
        """Whether the weight itself has the state."""
        return key in self._saved and base.get_parameter(key) is self._saved[key][0]

    def _change(self, module: Any, key: str, adapter: SparseDeltaAdapter, strength: float) -> None:
        function = _Function(module, key, (strength, adapter, 1.0, None, None))
        content = (self._patches_uuid, adapter, strength)
        resident = _resident.pop(module, None)
        self._functions.append((function, content))
        module.weight_lowvram_function = function
        still = resident is not None and resident.is_still(module, content)
        module._v_signature = resident.signature if resident is not None and still else None

    def _loaded(self, key: str, module: Any) -> bool:
        """Whether its weight is a copy that ComfyUI made for this load, as of small modules."""
        return not hasattr(module, "_v") and key in self._copied


def _streamed(module: Any) -> bool:
    known = hasattr(module, "_v") and hasattr(module, "_v_signature") and hasattr(module, "weight_lowvram_function")
    return known and isinstance(module.weight_lowvram_function, LowVramPatch | None)
