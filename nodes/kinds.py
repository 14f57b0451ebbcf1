"""Socket types, categories and schema helpers shared by all nodes of the pack."""

from __future__ import annotations

import dataclasses
from typing import Any

from comfy_api.latest import io

from ..cns_core.comfy_adapter.live_states import show_state
from ..cns_core.errors import CNSError
from ..cns_core.figures import state_record
from ..cns_core.state import CNSState

CATEGORY = "CNS"
CATEGORY_FILES = f"{CATEGORY}/files"
CATEGORY_INSPECT = f"{CATEGORY}/inspect"

ConceptSocket = io.Custom("CNS_CONCEPT")
NeuronsSocket = io.Custom("CNS_NEURONS")
StateSocket = io.Custom("CNS_STATE")

_SCHEMA_FIELDS = {field.name for field in dataclasses.fields(io.Schema)}


def Schema(**fields: Any) -> io.Schema:
    """A node schema; fields that this ComfyUI does not know yet are left out.

    Called Schema because ComfyUI-Manager finds a pack's node ids by reading the source for calls of that name.
    """
    return io.Schema(**{name: value for name, value in fields.items() if name in _SCHEMA_FIELDS})


WHERE = [io.Hidden.unique_id, io.Hidden.extra_pnginfo]  # what a node needs to know of its place to show something there


def workflow_id(hidden: Any) -> str | None:
    return ((hidden.extra_pnginfo or {}).get("workflow") or {}).get("id")


def checkpoint_name(hidden: Any) -> str:
    """The file that the loader of the running node's MODEL names; empty where it names none."""
    node = (hidden.prompt or {}).get(hidden.unique_id)
    while node:
        inputs = node["inputs"]
        names = [inputs[name] for name in ("ckpt_name", "unet_name") if isinstance(inputs.get(name), str)]
        if names:
            return names[0]
        link = inputs.get("model")
        node = hidden.prompt.get(link[0]) if isinstance(link, list) else None
    return ""


def show(state: CNSState, hidden: Any) -> None:
    """Fills the running node's state panel."""
    show_state(state_record(state), hidden.unique_id, workflow_id(hidden))


def one_of_each(inputs: dict[str, list]) -> dict[str, Any]:
    """The inputs of a node that takes lists, which ComfyUI wraps all in lists."""
    for name, values in inputs.items():
        if len(values) != 1:
            raise CNSError(f"{name} got a list of {len(values)}: wire a node there that gives one.")
    return {name: values[0] for name, values in inputs.items()}


def advanced(widget: Any) -> Any:
    """Folds a widget away where the editor can; the others show it as usual."""
    widget.extra_dict = {**widget.extra_dict, "advanced": True}
    return widget
