"""ComfyUI's dynamic VRAM without its native library, which needs a card: address ranges are host buffers here.

Loading, casting, patching and what is resident are ComfyUI's own code, so that what it copies can be counted on any machine.
``cpu:0`` stands for the card.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import comfy.model_management as memory
import comfy.model_patcher
import comfy.ops
import torch
from comfy.cli_args import args

CARD = torch.device("cpu", 0)
AVAILABLE = hasattr(comfy.model_patcher, "ModelPatcherDynamic") and hasattr(comfy.ops, "cast_modules_with_vbar")


class HostRange:
    """In place of ``ModelVBAR``: one page for each range, and a signature that changes when a page has been taken away."""

    def __init__(self, size: int, device: int | None) -> None:
        self.pages: list[torch.Tensor] = []
        self.generations: list[int | None] = []
        self.full = False
        self._next = 0

    def alloc(self, size: int) -> tuple[HostRange, int, int]:
        self.pages.append(torch.zeros(size, dtype=torch.uint8))
        self.generations.append(None)
        return self, len(self.pages) - 1, size

    def fault(self, page: int, size: int) -> bytes | None:
        if self.full:
            return None
        if self.generations[page] is None:
            self.generations[page], self._next = self._next, self._next + 1
        return self.generations[page].to_bytes(8, "little")

    @torch.inference_mode()
    def free_memory(self, size: int) -> int:
        """Takes all pages away, and leaves rubbish there as another model would."""
        freed = self.loaded_size()
        for page in self.pages:
            page.fill_(0x55)
        self.generations = [None] * len(self.pages)
        return freed

    def loaded_size(self) -> int:
        return sum(page.numel() for page, here in zip(self.pages, self.generations, strict=True) if here is not None)

    def prioritize(self, *_: object) -> None: ...
    def unpin(self, *_: object) -> None: ...


class HostBuffer:
    """In place of pinned memory, which is not used."""

    size = 0

    def __init__(self, *_: object) -> None: ...
    def truncate(self, *_: object, **__: object) -> None: ...


class Traffic:
    """``bytes``: copied to the card."""

    bytes = 0

    def of(self, action: Callable[[], object]) -> int:
        before = self.bytes
        action()
        return self.bytes - before


@contextmanager
def counted() -> Iterator[Traffic]:
    """Counts what dynamic VRAM copies to the card, here or on a real one: ComfyUI's own library copies, some of it straight
    from the file.
    """
    traffic, gather = Traffic(), memory.cast_to_gathered

    def counting(tensors, *destinations, **more):
        traffic.bytes += sum(tensor.nbytes for tensor in tensors if tensor is not None)
        return gather(tensors, *destinations, **more)

    with patch.object(memory, "cast_to_gathered", counting):
        yield traffic


@contextmanager
def dynamic_vram() -> Iterator[Traffic]:
    """Nothing is counted by a ComfyUI without it."""
    if not AVAILABLE:
        yield Traffic()
        return
    import comfy_aimdo.host_buffer
    import comfy_aimdo.model_vbar
    import comfy_aimdo.torch

    cast = comfy.ops.cast_bias_weight

    def onto_the_card(module, input=None, dtype=None, device=None, **rest):
        return cast(module, input, dtype, CARD if hasattr(module, "_v") else device, **rest)

    with ExitStack() as replaced, counted() as traffic:
        for place, name, stand_in in (
            (args, "disable_pinned_memory", True),
            (memory, "is_device_cpu", lambda device: device.type == "cpu" and device.index is None),
            (comfy.ops, "cast_bias_weight", onto_the_card),
            (comfy_aimdo.model_vbar, "ModelVBAR", HostRange),
            (comfy_aimdo.host_buffer, "HostBuffer", HostBuffer),
            (comfy_aimdo.torch, "aimdo_to_tensor", lambda address, device: address[0].pages[address[1]]),
        ):
            replaced.enter_context(patch.object(place, name, stand_in))
        yield traffic


def dynamic(model: comfy.model_patcher.ModelPatcher) -> comfy.model_patcher.ModelPatcher:
    """The model in dynamic VRAM on the card; by a ComfyUI without it, the model as it is."""
    if not AVAILABLE:
        return model
    return comfy.model_patcher.ModelPatcherDynamic(model.model, CARD, torch.device("cpu"))


def unload() -> None:
    for device in (CARD, torch.device("cpu")):
        memory.free_memory(1e30, device)
