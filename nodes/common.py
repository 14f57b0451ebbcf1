"""Socket types, categories and schema helpers shared by all nodes of the pack."""

from __future__ import annotations

import dataclasses
from typing import Any

from comfy_api.latest import io

from ..cns_core.comfy_adapter.page.live import LiveState
from ..cns_core.comfy_adapter.page.state_record import state_record
from ..cns_core.comfy_adapter.side_effects import SideEffect
from ..cns_core.state import CNSState

CATEGORY = "CNS"
CATEGORY_FILES = f"{CATEGORY}/files"
CATEGORY_INSPECT = f"{CATEGORY}/inspect"
CATEGORY_REGIONS = f"{CATEGORY}/regions"

ConceptSocket = io.Custom("CNS_CONCEPT")
NeuronsSocket = io.Custom("CNS_NEURONS")
StateSocket = io.Custom("CNS_STATE")
RegionsSocket = io.Custom("CNS_REGIONS")
BoundingBoxSocket = io.Custom("BOUNDING_BOX")  # ComfyUI's own; 0.3.75 has no class for it yet

_SCHEMA_FIELDS = {field.name for field in dataclasses.fields(io.Schema)}


def Schema(**fields: Any) -> io.Schema:
    """A node schema; fields that this ComfyUI does not know yet are left out.

    Called Schema because ComfyUI-Manager finds a pack's node ids by reading the source for calls of that name.
    """
    return io.Schema(**{name: value for name, value in fields.items() if name in _SCHEMA_FIELDS})


WHERE = [io.Hidden.unique_id, io.Hidden.extra_pnginfo]  # what a node needs to know of its place to show something there

# Not every executor gives nodes their hidden inputs (``hidden`` is then None), and prompts sent by API can hold anything there.


def node_id(hidden: Any) -> str | None:
    """The running node, as the page knows it."""
    found = getattr(hidden, "unique_id", None)
    return str(found) if isinstance(found, (str, int)) else None


def workflow_id(hidden: Any) -> str | None:
    workflow = _entry(getattr(hidden, "extra_pnginfo", None), "workflow")
    found = _entry(workflow, "id")
    return found if isinstance(found, str) else None


def prompt_nodes(hidden: Any) -> dict[str, dict[str, Any]]:
    """The nodes of the prompt that runs, by id; those without inputs are left out."""
    prompt = getattr(hidden, "prompt", None)
    nodes = prompt.items() if isinstance(prompt, dict) else ()
    return {name: node for name, node in nodes if isinstance(_entry(node, "inputs"), dict)}


def checkpoint_name(hidden: Any) -> str:
    """The file that the loader of the running node's MODEL names; empty where it names none."""
    nodes, node = prompt_nodes(hidden), node_id(hidden)
    for _ in nodes:  # no way to the loader is longer than that
        inputs = _entry(_entry(nodes, node), "inputs")
        names = [name for name in (_entry(inputs, "ckpt_name"), _entry(inputs, "unet_name")) if isinstance(name, str)]
        if names:
            return names[0]
        link = _entry(inputs, "model")
        node = link[0] if isinstance(link, list) and link else None
    return ""


def _entry(value: Any, key: Any) -> Any:
    """``value[key]``, or None where that is not there or ``value`` is no dictionary."""
    return value.get(key) if isinstance(value, dict) and isinstance(key, str) else None


def show(state: CNSState, hidden: Any) -> None:
    """Fills the running node's state panel."""
    with SideEffect("The state could not be shown in the node"):
        LiveState(node_id(hidden), workflow_id(hidden), state=state_record(state)).show()


def seed_input(default: int, tooltip: str) -> io.Int.Input:
    """A seed that stays what it is from run to run."""
    return io.Int.Input("seed", default=default, min=0, max=2**63 - 1, control_after_generate=False, tooltip=tooltip)


def advanced(widget: Any) -> Any:
    """Folds a widget away where the editor can; the others show it as usual."""
    widget.extra_dict = {**widget.extra_dict, "advanced": True}
    return widget
