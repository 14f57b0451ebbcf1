"""Socket types, categories and schema helpers shared by all nodes of the pack."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import reprlib
from collections.abc import Callable
from typing import Any

from comfy_api.latest import io

from ..cns_core.comfy_adapter.page.live_states import show_state
from ..cns_core.comfy_adapter.page.state_record import state_record
from ..cns_core.comfy_adapter.side_effects import SideEffect
from ..cns_core.errors import CNSError
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

_LISTS = (io.Conditioning.io_type, BoundingBoxSocket.io_type)  # outputs that are lists themselves; their nodes look into them
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # JSON can hold a surrogate without its partner
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
        show_state(state_record(state), node_id(hidden), workflow_id(hidden))


def checked(execute: Callable[..., io.NodeOutput]) -> Callable[..., io.NodeOutput]:
    """Refuses on an ``execute``'s inputs what ComfyUI lets pass in prompts by API, where JSON can be on any of them."""

    @functools.wraps(execute)
    def wrapped(cls: type[io.ComfyNode], *args: Any, **inputs: Any) -> io.NodeOutput:
        if cls.SCHEMA is not None:  # it is where no server has asked for it
            _check_inputs(cls.SCHEMA, inputs)
        return execute(cls, *args, **inputs)

    return wrapped


def _check_inputs(schema: io.Schema, inputs: dict[str, Any]) -> None:
    specs = {spec.id: spec for spec in schema.inputs or ()}  # None where a node has none
    for name, value in inputs.items():
        if name not in specs:  # ComfyUI passes every link on
            raise CNSError(f"{schema.display_name} has no input {reprlib.repr(name)}: it takes {', '.join(specs) or 'none'}.")
        for single in value if schema.is_input_list and isinstance(value, list) else [value]:
            _check_value(specs[name], single)


def _check_value(spec: io.Input, value: Any) -> None:
    """Raises CNSError unless it can be on that input."""
    if value is None and spec.optional:
        return
    if not isinstance(spec, io.WidgetInput):
        json = (str, int, float) if spec.io_type in _LISTS else (str, int, float, list, dict)  # most nodes give objects
        if value is None or isinstance(value, json):
            raise CNSError(f"{spec.id} got {reprlib.repr(value)} instead of an output: wire a node there.")
    elif isinstance(spec, (io.String.Input, io.Combo.Input)):
        if not isinstance(value, str):
            raise CNSError(f"{spec.id} got {reprlib.repr(value)}: it takes text.")
        if _HALF_CHARACTER.search(value):
            raise CNSError(f"{spec.id} got {reprlib.repr(value)}, which is no valid Unicode text: write it again.")
    elif isinstance(value, float) and not math.isfinite(value):
        raise CNSError(f"{spec.id} must be a finite number, but it is {value}.")


def takes_lists(execute: Callable[..., io.NodeOutput]) -> Callable[..., io.NodeOutput]:
    """Lets an ``execute`` that expects lists (``is_input_list``) take bare values too, which exported scripts pass to it."""

    @functools.wraps(execute)
    def wrapped(cls: type[io.ComfyNode], **inputs: Any) -> io.NodeOutput:
        return execute(cls, **{name: value if isinstance(value, list) else [value] for name, value in inputs.items()})

    return wrapped


def single_values(inputs: dict[str, list]) -> dict[str, Any]:
    """The inputs of a node that takes lists, which ComfyUI wraps all in lists."""
    for name, values in inputs.items():
        if len(values) != 1:
            raise CNSError(f"{name} got a list of {len(values)}: wire a node there that gives one.")
    return {name: values[0] for name, values in inputs.items()}


def advanced(widget: Any) -> Any:
    """Folds a widget away where the editor can; the others show it as usual."""
    widget.extra_dict = {**widget.extra_dict, "advanced": True}
    return widget
