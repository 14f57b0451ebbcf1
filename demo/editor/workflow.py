"""Turns a workflow as the editor saves it into a prompt as the server takes it."""

from __future__ import annotations

from typing import Any

_MUTED, _BYPASSED = 2, 4
_WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
_VIRTUAL = {"Note", "MarkdownNote", "Reroute", "PrimitiveNode"}


def to_prompt(workflow: dict, object_info: dict) -> dict:
    """API prompt of a workflow in UI format; ``object_info`` tells which inputs are widgets.

    Raises:
        KeyError: the workflow has a node the server does not know.
    """
    nodes = {node["id"]: node for node in workflow["nodes"]}
    links = {link[0]: link for link in workflow["links"]}
    prompt = {}
    for node in nodes.values():
        if node["type"] in _VIRTUAL or node.get("mode", 0) in (_MUTED, _BYPASSED):
            continue
        inputs: dict[str, Any] = _widget_values(node, object_info[node["type"]])
        for slot in node.get("inputs", []):
            if slot.get("link") is not None:
                source = _source(nodes, links, links[slot["link"]])
                if source is None:
                    inputs.pop(slot["name"], None)
                elif isinstance(source, _Constant):
                    inputs[slot["name"]] = source.value
                else:
                    inputs[slot["name"]] = source
        prompt[str(node["id"])] = {
            "class_type": node["type"],
            "inputs": inputs,
            "_meta": {"title": node.get("title", node["type"])},
        }
    return prompt


class _Constant:
    """The value of a primitive node."""

    def __init__(self, value: Any) -> None:
        self.value = value


def widget_names(info: dict) -> list[str]:
    """Names of a node's saved widget values in order; None stands for a value the server never sees."""
    names: list = []
    for section in ("required", "optional"):
        for name in info.get("input_order", {}).get(section, info["input"].get(section, {})):
            spec = info["input"][section][name]
            options = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
            if not (isinstance(spec[0], list) or spec[0] in _WIDGET_TYPES) or options.get("forceInput"):
                continue
            names.append(name)
            if options.get("control_after_generate", spec[0] == "INT" and name in {"seed", "noise_seed"}):
                names.append(None)
            if options.get("image_upload"):
                names.append(None)
    return names


def _widget_values(node: dict, info: dict) -> dict[str, Any]:
    values = node.get("widgets_values") or []
    if isinstance(values, dict):
        return {name: values[name] for name in widget_names(info) if name in values}
    return {name: value for name, value in zip(widget_names(info), values, strict=False) if name is not None}


def _source(nodes: dict, links: dict, link: list) -> list | _Constant | None:
    """Where a link's value comes from, through reroutes and bypassed nodes; None where it ends in nothing."""
    _, origin_id, origin_slot, *_ = link
    origin = nodes[origin_id]
    if origin["type"] == "PrimitiveNode":
        return _Constant(origin["widgets_values"][0])
    if origin.get("mode", 0) == _MUTED:
        return None
    if origin["type"] == "Reroute":
        candidates = origin["inputs"]
    elif origin.get("mode", 0) == _BYPASSED:
        kind = origin["outputs"][origin_slot]["type"]
        candidates = [slot for slot in origin.get("inputs", []) if slot["type"] == kind]
    else:
        return [str(origin_id), origin_slot]
    for slot in candidates:
        if slot.get("link") is not None:
            return _source(nodes, links, links[slot["link"]])
    return None


def change(prompt: dict, class_type: str, **inputs: Any) -> None:
    """Sets inputs of every node of a class."""
    for node in prompt.values():
        if node["class_type"] == class_type:
            node["inputs"].update(inputs)


def find(prompt: dict, class_type: str) -> list[str]:
    """Ids of the nodes of a class, in order."""
    return [node_id for node_id, node in prompt.items() if node["class_type"] == class_type]
