"""What a node refuses before it works: what ComfyUI lets pass in prompts by API, where JSON can be on any input."""

from __future__ import annotations

import functools
import math
import re
import reprlib
from collections.abc import Callable
from typing import Any

from comfy_api.latest import io

from ..cns_core.errors import CNSError
from .common import BoundingBoxSocket

_LISTS = (io.Conditioning.io_type, BoundingBoxSocket.io_type)  # outputs that are lists themselves; their nodes look into them
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # JSON can hold a surrogate without its partner


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
            raise CNSError(f"{spec.id} got {reprlib.repr(value)}, which is not valid Unicode text: write it again.")
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
            raise CNSError(f"{name} got a list of {len(values)}: wire a node there that gives a single value.")
    return {name: values[0] for name, values in inputs.items()}
