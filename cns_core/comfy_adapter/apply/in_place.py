"""A state written into a loaded model's own weights, at its selected elements only.

ComfyUI's patches change a patcher's ``patches_uuid``, upon which the whole model goes to the offload device and back.
An injection does not: it is written when its patcher is loaded, and taken out when another clone of the model is, or at the end
of a sampling, as a merge of this checkpoint with another reads the same weights whenever it is loaded. So that everything else
sees the state as well, :class:`StatePatcher` reports it among its patches (merging, saving), and becomes an
ordinary patcher as soon as a LoRA or a hook is put on top of it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP, PatcherInjection
from torch import Tensor, nn

from ..sparse_adapter import ATTACHMENT, SparseDeltaAdapter

_WRITABLE = (torch.float32, torch.float16, torch.bfloat16)


class _Original:
    """Entry of ComfyUI's ``backup``: the weight without the delta, for anyone who asks a clone of the model for it."""

    inplace_update = True

    def __init__(self, weight: Tensor, positions: Tensor, values: Tensor) -> None:
        self._weight, self._positions, self._values = weight, positions, values

    @property
    def weight(self) -> Tensor:
        original = self._weight.detach().clone()
        _put(self._positions, self._values, original)
        return original


@dataclass(eq=False)
class _Written:
    """What is written into a model right now, by which patcher, and what was there before."""

    owner: int
    saved: dict[str, tuple[Tensor, Tensor]]  # weight key -> positions, values
    backup: dict  # ComfyUI's, shared by all clones of the model


_written: weakref.WeakKeyDictionary[nn.Module, _Written] = weakref.WeakKeyDictionary()


class StatePatcher(ModelPatcher):
    """A ModelPatcher whose model carries a state's delta while it is loaded."""

    @staticmethod
    def of(model: ModelPatcher, adapters: Mapping[str, SparseDeltaAdapter], strength: float) -> StatePatcher:
        """A clone of ``model`` that writes ``strength · delta`` in place."""
        patcher = cast(StatePatcher, model.clone())
        patcher.__class__ = StatePatcher  # clone() keeps the class from here on
        patcher.set_attachments(ATTACHMENT, (dict(adapters), strength))
        patcher.set_injections(ATTACHMENT, [PatcherInjection(_write, _restore)])
        patcher.add_callback_with_key(CallbacksMP.ON_CLEANUP, ATTACHMENT, ModelPatcher.eject_model)
        patcher._forget_when_gone()
        return patcher

    @staticmethod
    def can_write(model: ModelPatcher, keys: Iterable[str]) -> bool:
        """Whether the weights are plain numbers that stay where they are, with nothing else patched onto them."""
        if type(model) is not ModelPatcher or model.patches or model.hook_patches or model.forced_hooks:
            return False
        weights = [model.model.get_parameter(key) for key in keys]
        return all(weight.dtype in _WRITABLE and weight.is_contiguous() for weight in weights)

    def clone(self, *args: Any, **kwargs: Any) -> ModelPatcher:
        patcher = super().clone(*args, **kwargs)
        patcher.is_injected = False  # ComfyUI copies this, but the clone has written nothing yet
        patcher._forget_when_gone()
        return patcher

    def _forget_when_gone(self) -> None:
        weakref.finalize(self, _forget, weakref.ref(self.model), id(self)).atexit = False

    def get_key_patches(self, filter_prefix: str | None = None) -> dict:
        patches = super().get_key_patches(filter_prefix)
        adapters, strength = self.get_attachment(ATTACHMENT) or ({}, 0.0)
        for key, adapter in adapters.items():
            if key in patches:
                patches[key] = [*patches[key], (strength, adapter, 1.0, None, None)]
        return patches

    def partially_load(self, *args: Any, **kwargs: Any) -> int:
        try:
            return super().partially_load(*args, **kwargs)
        except BaseException:
            self.eject_model()  # ComfyUI injects on the way out of a load that failed, too
            raise

    def add_patches(self, patches: dict, *args: Any, **kwargs: Any) -> list[str]:
        self.become_ordinary()
        return super().add_patches(patches, *args, **kwargs)

    def add_hook_patches(self, *args: Any, **kwargs: Any) -> list[str]:
        self.become_ordinary()
        return super().add_hook_patches(*args, **kwargs)

    def become_ordinary(self) -> None:
        """Turns the injection into patches, which ComfyUI combines with others."""
        if self.get_attachment(ATTACHMENT) is None:
            return
        adapters, strength = self.attachments.pop(ATTACHMENT)
        self.eject_model()
        self.remove_injections(ATTACHMENT)
        super().add_patches(adapters, strength)


def _write(patcher: ModelPatcher) -> None:
    base = patcher.model
    _put_back(base)
    adapters, strength = patcher.attachments[ATTACHMENT]
    written = _written[base] = _Written(id(patcher), {}, patcher.backup)
    try:
        with torch.inference_mode():
            for key, adapter in adapters.items():
                weight = base.get_parameter(key)
                positions, delta = (tensor.to(weight.device) for tensor in adapter.weights)
                flat = weight.view(-1)
                values = flat.index_select(0, positions)
                written.saved[key] = (adapter.weights[0], values.cpu())  # nothing stays on the device but the weights
                flat.index_copy_(0, positions, (values.float() + strength * delta).to(weight.dtype))
                patcher.backup[key] = _Original(weight, *written.saved[key])
    except BaseException:  # out of memory half-way
        _put_back(base)
        raise


def _restore(patcher: ModelPatcher) -> None:
    _put_back(patcher.model)


def _put_back(base: nn.Module) -> None:
    """Every element as it was, from its copy. If an error such as out of memory interrupts it, the next call starts over."""
    written = _written.get(base)
    if written is None:
        return
    with torch.inference_mode():
        for key, (positions, values) in written.saved.items():
            _put(positions, values, base.get_parameter(key))
            if isinstance(written.backup.get(key), _Original):
                del written.backup[key]
    del _written[base]


def _put(positions: Tensor, values: Tensor, weight: Tensor) -> None:
    weight.view(-1).index_copy_(0, positions.to(weight.device), values.to(weight.device))


def _forget(base: weakref.ref[nn.Module], owner: int) -> None:
    """A patcher is gone, perhaps without having been unloaded: ComfyUI then takes its parent for the loaded one."""
    model = base()
    if model is not None and model in _written and _written[model].owner == owner:
        _put_back(model)
