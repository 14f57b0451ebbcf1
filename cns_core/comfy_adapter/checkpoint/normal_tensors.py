"""Autograd through weights that ComfyUI loaded under ``torch.inference_mode``.

Such inference tensors cannot be saved for a backward pass. An ordinary tensor on the same storage can, and costs
nothing: no byte is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def _alias(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    if dtype is not None and tensor.is_floating_point() and tensor.dtype != dtype:
        return tensor.to(dtype)
    plain = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return plain.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())


@contextmanager
def normal_tensors(*modules: nn.Module, dtype: torch.dtype | None = None) -> Iterator[None]:
    """Leaves inference mode with ordinary aliases in place of all parameters and buffers; puts the originals back.

    ``dtype``: the type they are computed in; those of another one are converted once instead of whenever they are used.
    """
    originals: list[tuple[dict, str, Tensor]] = []
    with torch.inference_mode(False), torch.enable_grad():
        try:
            for module in (part for root in modules for part in root.modules()):
                for name, tensor in module._parameters.items():
                    if tensor is not None:
                        originals.append((module._parameters, name, tensor))
                        module._parameters[name] = nn.Parameter(_alias(tensor.data, dtype), requires_grad=False)
                for name, tensor in module._buffers.items():
                    if tensor is not None:
                        originals.append((module._buffers, name, tensor))
                        module._buffers[name] = _alias(tensor, dtype)
            yield
        finally:
            for holder, name, tensor in originals:
                holder[name] = tensor


@contextmanager
def out_of_place_norms(text_model: nn.Module) -> Iterator[None]:
    """Lets autograd through ComfyUI's CLIP, whose residual adds write into the tensor each layer norm has just saved.

    While the context lasts every layer norm reads a copy of its input.
    """
    norms = [module for module in text_model.modules() if isinstance(module, nn.LayerNorm)]
    hooks = [norm.register_forward_pre_hook(lambda _, inputs: (inputs[0].clone(), *inputs[1:])) for norm in norms]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
