"""ComfyUI's Cancel button."""

from __future__ import annotations

import comfy.model_management


def check_cancelled() -> None:
    """Raises ComfyUI's interruption where the user pressed Cancel."""
    comfy.model_management.throw_exception_if_processing_interrupted()
