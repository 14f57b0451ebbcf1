"""Socket types, categories and schema helpers shared by all nodes of the pack."""

from __future__ import annotations

import dataclasses
from typing import Any

from comfy_api.latest import io

CATEGORY = "CNS"
CATEGORY_FILES = f"{CATEGORY}/files"

ConceptSocket = io.Custom("CNS_CONCEPT")
NeuronsSocket = io.Custom("CNS_NEURONS")
StateSocket = io.Custom("CNS_STATE")

_SCHEMA_FIELDS = {field.name for field in dataclasses.fields(io.Schema)}


def Schema(**fields: Any) -> io.Schema:
    """A node schema; fields that this ComfyUI does not know yet are left out.

    Called Schema because ComfyUI-Manager finds a pack's node ids by reading the source for calls of that name.
    """
    return io.Schema(**{name: value for name, value in fields.items() if name in _SCHEMA_FIELDS})


def advanced(widget: Any) -> Any:
    """Folds a widget away where the editor can; the others show it as usual."""
    widget.extra_dict = {**widget.extra_dict, "advanced": True}
    return widget
