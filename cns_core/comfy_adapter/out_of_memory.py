"""Tells running out of memory from other errors, on every device and version."""

from __future__ import annotations

import comfy.model_management as memory

_WORDS = (
    *("out of memory", "defaultcpuallocator", "cublas_status_alloc_failed", "cudnn_status_alloc_failed"),
    *("invalid buffer size", "out_of_resources", "out_of_device_memory"),  # MPS, Level Zero
)


def out_of_memory(error: Exception) -> bool:
    """MPS, the CPU and some drivers and libraries raise a plain RuntimeError that says so."""
    known = getattr(memory, "is_oom", None)  # newer ComfyUI knows more kinds
    if isinstance(error, memory.OOM_EXCEPTION) or (known is not None and known(error)):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in _WORDS)
