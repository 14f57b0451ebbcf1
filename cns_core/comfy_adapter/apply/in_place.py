"""A state written into a loaded model at its selected elements only.

ComfyUI's patches change a patcher's ``patches_uuid``, upon which the whole model is brought to the device again. An injection
does not: it is written when its patcher is loaded, and taken out when another clone of the model is. How depends on
where ComfyUI keeps the weights: :mod:`.live_weights`, :mod:`.dynamic_vram`. So that everything else sees the state as
well, :class:`StatePatcher` reports it among its patches (merging, saving), and becomes an ordinary patcher as soon as a LoRA
or a hook is put on top of it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from comfy import model_patcher
from comfy.hooks import HookGroup
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP, PatcherInjection
from torch import nn

from ..sparse_adapter import ATTACHMENT, SparseDeltaAdapter
from .dynamic_vram import CannotWrite, DynamicWrite
from .live_weights import LiveWrite

_WRITABLE = (torch.float32, torch.float16, torch.bfloat16)
_written: weakref.WeakKeyDictionary[nn.Module, LiveWrite | DynamicWrite] = weakref.WeakKeyDictionary()


class StatePatcher(ModelPatcher):
    """A ModelPatcher whose model carries a state's delta while it is loaded."""

    @staticmethod
    def of(model: ModelPatcher, adapters: Mapping[str, SparseDeltaAdapter], strength: float) -> StatePatcher:
        """A clone of ``model`` that writes ``strength · delta`` in place."""
        patcher = cast(StatePatcher, model.clone())
        patcher.__class__ = _CLASSES[type(model)]  # clone() keeps the class from here on
        patcher.set_attachments(ATTACHMENT, (dict(adapters), strength))
        patcher.set_injections(ATTACHMENT, [PatcherInjection(_inject, _eject)])
        patcher.add_callback_with_key(CallbacksMP.ON_CLEANUP, ATTACHMENT, _after_sampling)
        patcher._forget_when_gone()
        return patcher

    @staticmethod
    def can_write(model: ModelPatcher, keys: Iterable[str]) -> bool:
        """Whether the weights are plain numbers, with nothing else patched onto them that the way of writing cannot join."""
        if type(model) not in _CLASSES or model.hook_patches or model.forced_hooks:
            return False
        if model.patches and not _is_dynamic(model):
            return False
        weights = [model.model.get_parameter(key) for key in keys]
        return all(weight.dtype in _WRITABLE and weight.is_contiguous() for weight in weights)

    def clone(self, *args: Any, **kwargs: Any) -> ModelPatcher:
        patcher = super().clone(*args, **kwargs)
        patcher.is_injected = False  # ComfyUI copies this, but the clone has written nothing yet
        patcher.__class__ = _CLASSES.get(type(patcher), type(patcher))  # it may have become an ordinary one
        if isinstance(patcher, StatePatcher):
            patcher._forget_when_gone()
            if patcher.patches and not _is_dynamic(patcher):
                patcher.become_ordinary()
        return patcher

    def _forget_when_gone(self) -> None:
        weakref.finalize(self, _forget, weakref.ref(self.model), id(self)).atexit = False

    def get_key_patches(self, filter_prefix: str | None = None) -> dict:
        patches = super().get_key_patches(filter_prefix)
        for key in self._adapters.keys() & patches.keys():
            patches[key] = [*patches[key], self._patch(key)]
        return patches

    def patch_weight_to_device(self, key: str, *args: Any, **kwargs: Any) -> Any:
        """With ``return_weight`` ComfyUI asks for a weight to save, of a module that it streams to the device."""
        written = _own(self)
        there = written is not None and written.is_in(self.model, key)
        if not kwargs.get("return_weight") or key not in self._adapters or there:
            return super().patch_weight_to_device(key, *args, **kwargs)
        patches = self.patches
        self.patches = {**patches, key: [*patches.get(key, []), self._patch(key)]}
        try:
            return super().patch_weight_to_device(key, *args, **kwargs)
        finally:
            self.patches = patches

    def partially_load(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().partially_load(*args, **kwargs)
        except CannotWrite:
            self.become_ordinary()
            return super().partially_load(*args, **kwargs)
        except BaseException:
            self.eject_model()  # ComfyUI injects on the way out of a load that failed, too
            raise

    def patch_hooks(self, hooks: HookGroup) -> None:
        """A prompt's hooks change between the passes of a step; without weights among them the state can stay in."""
        if self.hook_patches or self.hook_backup:
            super().patch_hooks(hooks)
        else:
            self.current_hooks = hooks

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

    @property
    def _adapters(self) -> dict[str, SparseDeltaAdapter]:
        return (self.get_attachment(ATTACHMENT) or ({},))[0]

    def _patch(self, key: str) -> tuple:
        adapters, strength = self.attachments[ATTACHMENT]
        return strength, adapters[key], 1.0, None, None


_CLASSES: dict[type, type] = {ModelPatcher: StatePatcher}
_Dynamic: Any = getattr(model_patcher, "ModelPatcherDynamic", None)
if _Dynamic is not None:

    class DynamicStatePatcher(StatePatcher, _Dynamic):
        """The same where ComfyUI keeps the model in dynamic VRAM."""

    _CLASSES[_Dynamic] = DynamicStatePatcher


def _is_dynamic(patcher: Any) -> bool:
    return hasattr(patcher, "is_dynamic") and patcher.is_dynamic()


def _inject(patcher: ModelPatcher) -> None:
    """Into the model the patcher has now: after a load on another device, or without dynamic VRAM, it is another one."""
    base = patcher.model
    _put_back(base)
    adapters, strength = patcher.attachments[ATTACHMENT]
    written = _written[base] = DynamicWrite(patcher) if _is_dynamic(patcher) else LiveWrite(patcher)
    try:
        with torch.inference_mode():
            written.write(base, adapters, strength)
    except BaseException:  # out of memory half-way
        _put_back(base)
        raise


def _eject(patcher: ModelPatcher) -> None:
    if _own(patcher) is not None:
        _put_back(patcher.model)


def _after_sampling(patcher: ModelPatcher) -> None:
    """A merge of this checkpoint with another reads its weights whenever it is loaded; in dynamic VRAM those are untouched."""
    if not _is_dynamic(patcher):
        patcher.eject_model()


def _own(patcher: ModelPatcher) -> LiveWrite | DynamicWrite | None:
    written = _written.get(patcher.model)
    return written if written is not None and written.owner == id(patcher) else None


def _put_back(base: nn.Module) -> None:
    """Everything as it was, from copies. If an error such as out of memory interrupts it, the next call starts over."""
    written = _written.get(base)
    if written is None:
        return
    with torch.inference_mode():
        written.put_back(base)
    del _written[base]


def _forget(base: weakref.ref[nn.Module], owner: int) -> None:
    """A patcher is gone, perhaps without having been unloaded: ComfyUI then takes its parent for the loaded one."""
    model = base()
    if model is not None and model in _written and _written[model].owner == owner:
        _put_back(model)
