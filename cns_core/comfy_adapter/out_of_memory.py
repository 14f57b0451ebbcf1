"""Tells running out of memory from other errors, on every device and version."""

from __future__ import annotations

import comfy.model_management as memory


def out_of_memory(error: Exception) -> bool:
    """MPS, the CPU and some drivers raise a plain RuntimeError that says so."""
    known = getattr(memory, "is_oom", None)  # newer ComfyUI knows more kinds
    if isinstance(error, memory.OOM_EXCEPTION) or (known is not None and known(error)):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in said or "defaultcpuallocator" in said)
