"""Writes a graph as the editor saves it."""

from __future__ import annotations

import json
from pathlib import Path

from demo.editor.graph import Graph, Input, inputs_of

FOLDER = Path(__file__).parents[3] / "example_workflows"
_TITLE, _ROW, _WIDGET, _TEXT = 34, 22, 26, 96  # pixels the editor gives a title, a slot, a widget, a text box


def document(graph: Graph) -> dict:
    links: list[list] = []
    nodes = [_node(graph, node, links) for node in graph.places]
    for link_id, origin, output, *_ in links:
        nodes[origin - 1]["outputs"][output]["links"].append(link_id)
    return {
        "revision": 0,
        "last_node_id": len(nodes),
        "last_link_id": len(links),
        "nodes": nodes,
        "links": links,
        "groups": graph.groups,
        "config": {},
        "extra": {"ds": {"scale": 0.6, "offset": [60, 120]}},
        "version": 0.4,
    }


def _node(graph: Graph, node: str, links: list[list]) -> dict:
    """Appends the links that lead to it."""
    place = graph.places[node]
    if node in graph.notes:
        own = {"inputs": [], "outputs": [], "properties": {}, "widgets_values": [graph.notes[node]]}
        kind, size = "MarkdownNote", list(place.size)
    else:
        kind = graph.prompt[node]["class_type"]
        own, height = _content(graph, node, links)
        size = [place.size[0], place.size[1] or height]
    shared = {
        "id": int(node),
        "type": kind,
        "pos": list(place.at),
        "size": size,
        "flags": {},
        "order": int(node) - 1,
        "mode": 0,
    }
    return {**shared, **own, **({"title": place.title} if place.title else {})}


def _content(graph: Graph, node: str, links: list[list]) -> tuple[dict, int]:
    """What a node holds, and the pixels it needs for that."""
    kind, given = graph.prompt[node]["class_type"], graph.prompt[node]["inputs"]
    info = graph.object_info[kind]
    slots, values, widgets = [], [], 0
    for one in inputs_of(info):
        value = given.get(one.name)
        linked = graph.is_link(value)
        slot = {"name": one.name, "type": "COMBO" if isinstance(one.type, list) else one.type, "link": None}
        if linked:
            slot["link"] = len(links) + 1
            links.append([slot["link"], int(value[0]), value[1], int(node), len(slots), slot["type"]])
        if one.is_widget:
            slot["widget"] = {"name": one.name}
            buttons = _buttons(one)
            values += [one.default if linked else value, *buttons]
            widgets += _WIDGET * ((not one.options.get("advanced")) + len(buttons))
            widgets += (_TEXT - _WIDGET) * bool(one.options.get("multiline"))
        slots.append(slot)
    outputs = [
        {"name": name, "type": kind_of, "links": [], "slot_index": index}
        for index, (name, kind_of) in enumerate(zip(info["output_name"], info["output"], strict=True))
    ]
    pack = "continual-concepts-cns" if kind.startswith("CNS_") else "comfy-core"
    properties = {"Node name for S&R": kind, "cnr_id": pack}
    sockets = max(sum("widget" not in slot for slot in slots), len(outputs))
    content = {"inputs": slots, "outputs": outputs, "properties": properties, "widgets_values": values}
    return content, _TITLE + _ROW * sockets + widgets


def _buttons(one: Input) -> list[str]:
    """Widgets the editor adds to one, saved with the others: what becomes of a seed after a run, and the upload button."""
    seed = one.options.get("control_after_generate", one.name in {"seed", "noise_seed"})
    return ["fixed"] * bool(seed) + ["image"] * bool(one.options.get("image_upload"))


def save(graph: Graph) -> Path:
    path = FOLDER / f"{graph.name}.json"
    path.write_text(json.dumps(document(graph), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
