"""A canvas under construction: nodes, links and groups."""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "example_workflows"
_WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
_TITLE, _ROW, _WIDGET, _TEXT = 34, 22, 26, 96  # pixels the editor gives a title, a slot, a widget, a text box


class Workflow:
    """Nodes, links and groups of one canvas; ``add`` returns a function that names the node's outputs."""

    def __init__(self, name: str, object_info: dict) -> None:
        self.name, self.object_info = name, object_info
        self.nodes: list[dict] = []
        self.links: list[list] = []
        self.groups: list[dict] = []

    def add(self, kind: str, at: tuple[int, int], title: str = "", size: tuple[int, int] = (300, 0), **inputs: object):
        info = self.object_info[kind]
        node_id = len(self.nodes) + 1
        slots, values, shown, text_boxes = [], [], 0, 0
        names = [*info["input_order"].get("required", []), *info["input_order"].get("optional", [])]
        unknown = set(inputs) - set(names)
        if unknown:
            raise SystemExit(f"{kind} has no input {unknown}")
        for name in names:
            spec = {**info["input"].get("required", {}), **info["input"].get("optional", {})}[name]
            options = spec[1] if len(spec) > 1 else {}
            is_widget = (isinstance(spec[0], list) or spec[0] in _WIDGET_TYPES) and not options.get("forceInput")
            value = inputs.get(name)
            linked = isinstance(value, tuple)
            slot = {"name": name, "type": "COMBO" if isinstance(spec[0], list) else spec[0], "link": None}
            if linked:
                slot["link"] = self._link(value, node_id, len(slots), slot["type"])
            if is_widget:
                slot["widget"] = {"name": name}
                choices = spec[0] if isinstance(spec[0], list) else options.get("options", [None])
                values.append(options.get("default", choices[0]) if linked or value is None else value)
                shown += not options.get("advanced")
                text_boxes += bool(options.get("multiline"))
                if options.get("control_after_generate", name in {"seed", "noise_seed"}):
                    values.append("fixed")
                    shown += 1
                if options.get("image_upload"):
                    values.append("image")
                    shown += 1
            slots.append(slot)
        outputs = [
            {"name": label, "type": kind_of, "links": [], "slot_index": index}
            for index, (label, kind_of) in enumerate(zip(info["output_name"], info["output"], strict=True))
        ]
        sockets = sum("widget" not in slot for slot in slots)
        needed = _TITLE + _ROW * max(sockets, len(outputs)) + _WIDGET * (shown - text_boxes) + _TEXT * text_boxes
        pack = "continual-concepts-cns" if kind.startswith("CNS_") else "comfy-core"
        self.nodes.append(
            {
                "id": node_id,
                "type": kind,
                "pos": list(at),
                "size": [size[0], size[1] or needed],
                "flags": {},
                "order": node_id - 1,
                "mode": 0,
                "inputs": slots,
                "outputs": outputs,
                "properties": {"Node name for S&R": kind, "cnr_id": pack},
                "widgets_values": values,
                **({"title": title} if title else {}),
            }
        )

        def output(index: int | str = 0) -> tuple[int, int]:
            return node_id, index if isinstance(index, int) else info["output_name"].index(index)

        return output

    def _link(self, source: tuple[int, int], target: int, slot: int, kind: str) -> int:
        link_id = len(self.links) + 1
        self.links.append([link_id, source[0], source[1], target, slot, kind])
        self.nodes[source[0] - 1]["outputs"][source[1]]["links"].append(link_id)
        return link_id

    def note(self, at: tuple[int, int], size: tuple[int, int], text: str) -> None:
        node_id = len(self.nodes) + 1
        note = {"id": node_id, "type": "MarkdownNote", "pos": list(at), "size": list(size), "flags": {}, "order": node_id - 1}
        self.nodes.append(
            {**note, "mode": 0, "inputs": [], "outputs": [], "properties": {}, "widgets_values": [text], "title": "Read me"}
        )

    def group(self, title: str, bounding: tuple[int, int, int, int], color: str = "#3f789e") -> None:
        number = len(self.groups) + 1
        box = {"id": number, "title": title, "bounding": list(bounding), "color": color}
        self.groups.append({**box, "font_size": 24, "flags": {}})

    def document(self) -> dict:
        """The workflow as the editor saves it."""
        return {
            "revision": 0,
            "last_node_id": len(self.nodes),
            "last_link_id": len(self.links),
            "nodes": self.nodes,
            "links": self.links,
            "groups": self.groups,
            "config": {},
            "extra": {"ds": {"scale": 0.6, "offset": [60, 120]}},
            "version": 0.4,
        }

    def save(self) -> Path:
        path = FOLDER / f"{self.name}.json"
        path.write_text(json.dumps(self.document(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path
