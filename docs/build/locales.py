"""Writes ``locales/en/nodeDefs.json`` from a server's ``/object_info``.

The other languages are translated by hand; a test says where they lag behind.
"""

from __future__ import annotations

import json
from pathlib import Path

from demo.editor.comfy_server import ComfyServer

FOLDER = Path(__file__).parents[2] / "locales"


def node_definitions(object_info: dict) -> dict:
    """Names and tooltips of the pack's nodes, in the editor's format for translations."""
    return {name: _definition(info) for name, info in sorted(object_info.items()) if name.startswith("CNS_")}


def _definition(info: dict) -> dict:
    specs = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
    inputs = {name: {"name": name, "tooltip": spec[1]["tooltip"]} for name, spec in specs.items()}
    outputs = {
        str(index): {"name": name, "tooltip": tooltip}
        for index, (name, tooltip) in enumerate(zip(info["output_name"], info["output_tooltips"], strict=True))
    }
    definition = {"display_name": info["display_name"], "description": info["description"]}
    return {**definition, **({"inputs": inputs} if inputs else {}), "outputs": outputs}


def make(server: ComfyServer) -> None:
    definitions = node_definitions(server.object_info())
    path = FOLDER / "en" / "nodeDefs.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(definitions, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(path)
