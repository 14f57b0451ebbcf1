"""Writes a graph as the editor saves it."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

from demo.editor.canvas.wires import INPUT_END, OUTPUT_END, Wires
from demo.editor.graph import CHECKPOINT, Graph, Input, inputs_of

_ROOT = Path(__file__).parents[3]
FOLDER, BLUEPRINT_FOLDER = _ROOT / "example_workflows", _ROOT / "subgraphs"
_TITLE, _ROW, _WIDGET, _TEXT = 34, 22, 26, 96  # pixels the editor gives a title, a slot, a widget, a text box
_END = 120  # pixels between a subgraph's ends and its nodes
_VERSIONS = {
    "continual-concepts-cns": re.findall(r'^version = "(.+)"', (_ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)[0],
    "comfy-core": "0.3.75",
}
# What the editor offers to download where it is missing.
_MODELS = {
    CHECKPOINT: {
        "name": CHECKPOINT,
        "url": f"https://huggingface.co/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/{CHECKPOINT}?download=true",
        "directory": "checkpoints",
    }
}


def document(graph: Graph) -> dict:
    cards = {node: _card(graph, node) for node in graph.places}
    wires = Wires(graph, cards)
    for node, content in graph.prompt.items():
        for slot, one in enumerate(inputs_of(graph.object_info[content["class_type"]])):
            value, box = content["inputs"].get(one.name), graph.box_of(node)
            kind = cards[node]["inputs"][slot]["type"]
            if graph.is_link(value):
                wires.join((value[0], value[1]), (node, slot), one.name, kind)
            elif box and graph.boxes[box].open and not one.is_widget:
                wires.enter_unwired(box, (node, slot), one.name, kind)
    for box, subgraph in graph.boxes.items():
        for node, output in subgraph.ends:
            wires.leave(box, (node, output), cards[node]["outputs"][output]["type"])
    for box in graph.boxes:
        cards[box]["size"][1] = graph.places[box].size[1] or _host_height(graph, cards, box)
    definitions = [_definition(graph, box, cards, wires) for box in graph.boxes]
    return {
        "revision": 0,
        "last_node_id": len(cards),
        "last_link_id": max((number for links in wires.links.values() for number in links), default=0),
        "nodes": [card for node, card in cards.items() if not graph.box_of(node)],
        "links": [[number, *link] for number, link in wires.links[""].items()],
        "groups": graph.groups,
        **({"definitions": {"subgraphs": definitions}} if definitions else {}),
        "config": {},
        "extra": {"ds": {"scale": graph.scale, "offset": [60, 165]}, **_app(graph)},
        "version": 0.4,
    }


def _app(graph: Graph) -> dict:
    """What app mode shows: widgets to set, and nodes whose results come out."""
    if graph.app is None:
        return {}
    widgets, results = graph.app
    return {"linearData": {"inputs": [[int(node), name] for node, name in widgets], "outputs": [int(node) for node in results]}}


def _card(graph: Graph, node: str) -> dict:
    """A node as a file holds it, with nothing wired."""
    place = graph.places[node]
    if node in graph.notes:
        own, height = {"inputs": [], "outputs": [], "properties": {}, "widgets_values": [graph.notes[node]]}, 0
        kind = "MarkdownNote"
    elif node in graph.boxes:
        shown = [[str(inner), name] for inner, name in graph.boxes[node].shown]
        own, height = {"inputs": [], "outputs": [], "properties": {"proxyWidgets": shown}, "widgets_values": []}, 0
        kind = _identity(graph, node)
    else:
        kind = graph.prompt[node]["class_type"]
        own, height = _content(graph, node)
    shared = {
        "id": int(node),
        "type": kind,
        "pos": list(place.at),
        "size": [place.size[0], place.size[1] or height],
        "flags": {},
        "order": int(node) - 1,
        "mode": 0,
    }
    return {**shared, **own, **({"title": place.title} if place.title else {})}


def _content(graph: Graph, node: str) -> tuple[dict, int]:
    """What a node holds, and the pixels it needs for that."""
    kind, given = graph.prompt[node]["class_type"], graph.prompt[node]["inputs"]
    info = graph.object_info[kind]
    slots, values, widgets = [], [], 0
    for one in inputs_of(info):
        value = given.get(one.name)
        slot = {"name": one.name, "type": "COMBO" if isinstance(one.type, list) else one.type, "link": None}
        if one.is_widget:
            slot["widget"] = {"name": one.name}
            buttons = _buttons(one)
            values += [one.default if graph.is_link(value) else value, *buttons]
            widgets += _height(one)
        slots.append(slot)
    outputs = [
        {"name": name, "type": kind_of, "links": [], "slot_index": index}
        for index, (name, kind_of) in enumerate(zip(info["output_name"], info["output"], strict=True))
    ]
    pack = "continual-concepts-cns" if kind.startswith("CNS_") else "comfy-core"
    properties = {"Node name for S&R": kind, "cnr_id": pack, "ver": _VERSIONS[pack]}
    models = [_MODELS[value] for value in given.values() if isinstance(value, str) and value in _MODELS]
    sockets = max(sum("widget" not in slot for slot in slots), len(outputs))
    properties |= {"models": models} if models else {}
    content = {"inputs": slots, "outputs": outputs, "properties": properties, "widgets_values": values}
    return content, _TITLE + _ROW * sockets + widgets


def _height(one: Input) -> int:
    """Of a widget with its buttons."""
    height = _WIDGET * ((not one.options.get("advanced")) + len(_buttons(one)))
    return height + (_TEXT - _WIDGET) * (bool(one.options.get("multiline")) and not one.options.get("advanced"))


def _buttons(one: Input) -> list[str]:
    """Widgets the editor adds to one, saved with the others: what becomes of a seed after a run, and the upload button."""
    seed = one.options.get("control_after_generate", one.name in {"seed", "noise_seed"})
    return ["fixed"] * bool(seed) + ["image"] * bool(one.options.get("image_upload"))


def _host_height(graph: Graph, cards: dict[str, dict], box: str) -> int:
    """Of a subgraph's node: its slots, and the widgets it shows of those inside."""
    shown = 0
    for node, name in graph.boxes[box].shown:
        info = graph.object_info[graph.prompt[node]["class_type"]]
        shown += next(_height(one) for one in inputs_of(info) if one.name == name)
    return _TITLE + _ROW * max(len(cards[box]["inputs"]), len(cards[box]["outputs"])) + shown


def _identity(graph: Graph, box: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{graph.name}/{box}"))


def _definition(graph: Graph, box: str, cards: dict[str, dict], wires: Wires) -> dict:
    nodes = [card for node, card in cards.items() if graph.box_of(node) == box]
    left, top = (min(card["pos"][axis] for card in nodes) for axis in (0, 1))
    right = max(card["pos"][0] + card["size"][0] for card in nodes)
    ends = wires.ends[box]
    bounds = {side: [x, top, _END, 40 + 20 * len(ends[side])] for side, x in (("inputs", left - 240), ("outputs", right + 120))}
    for side, (x, y, width, _) in bounds.items():
        for number, end in enumerate(ends[side]):
            end["pos"] = [x + (width - 20 if side == "inputs" else 20), y + 20 + 20 * number]
    links = wires.links[box]
    names = ("origin_id", "origin_slot", "target_id", "target_slot", "type")
    return {
        "id": _identity(graph, box),
        "version": 1,
        "state": {"lastGroupId": 0, "lastNodeId": len(cards), "lastLinkId": max(links, default=0), "lastRerouteId": 0},
        "revision": 0,
        "config": {},
        "name": graph.places[box].title,
        "inputNode": {"id": INPUT_END, "bounding": bounds["inputs"]},
        "outputNode": {"id": OUTPUT_END, "bounding": bounds["outputs"]},
        "inputs": ends["inputs"],
        "outputs": ends["outputs"],
        "widgets": [],
        "nodes": nodes,
        "groups": [],
        "links": [{"id": number, **dict(zip(names, link, strict=True))} for number, link in links.items()],
        "extra": {},
    }


def save(graph: Graph, folder: Path = FOLDER) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{graph.name}.json"
    path.write_text(json.dumps(document(graph), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
