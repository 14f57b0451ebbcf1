"""Patchers whose weights are whole on the device: newer ComfyUI streams them by default, which autograd cannot use."""

from __future__ import annotations

import inspect
import weakref
from typing import Any

from comfy.model_patcher import ModelPatcher
from torch import nn

from ..errors import CNSError
from .checkpoint.checkpoint import Checkpoint


class StaticCopies:
    """What ComfyUI reads from the file once more for such a patcher, kept for the next training of the same checkpoint.

    One checkpoint's at most, and no longer than that checkpoint itself. To ComfyUI a copy is a model like any other, which it
    takes off the device where something else needs the room.
    """

    def __init__(self) -> None:
        self._kept: weakref.WeakKeyDictionary[nn.Module, ModelPatcher] = weakref.WeakKeyDictionary()

    def of(self, checkpoint: Checkpoint) -> tuple[ModelPatcher, ModelPatcher]:
        """UNet and text encoder.

        Raises:
            CNSError: they cannot be had.
        """
        patchers = checkpoint.model, checkpoint.clip.patcher
        for other in [model for model in self._kept if all(model is not patcher.model for patcher in patchers)]:
            del self._kept[other]
        unet, text = (self._static(patcher) for patcher in patchers)
        return unet, text

    def _static(self, patcher: Any) -> ModelPatcher:
        if "disable_dynamic" not in inspect.signature(patcher.clone).parameters or not patcher.is_dynamic():
            return patcher
        if patcher.model in self._kept:
            return self._kept[patcher.model]
        if getattr(patcher, "cached_patcher_init", None) is None:
            raise CNSError(
                "This model's loader cannot load it without dynamic VRAM, and training does not work with it: use "
                "ComfyUI's Load Checkpoint, or start ComfyUI with --disable-dynamic-vram."
            )
        static = patcher.clone(disable_dynamic=True)
        static.parent = None  # or ComfyUI would count it as the streamed model, and neither would ever be freed
        self._kept[patcher.model] = static
        return static


static_copies = StaticCopies()
