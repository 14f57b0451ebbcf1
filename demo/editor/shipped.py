"""The workflows that ship with the pack, run on a server."""

from __future__ import annotations

import json

from demo.editor.canvas.workflow_file import FOLDER
from demo.editor.comfy_server import ComfyServer, Result
from demo.editor.workflow import to_prompt


def shipped_prompt(name: str, object_info: dict) -> dict:
    return to_prompt(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")), object_info)


def execute(server: ComfyServer, what: str, prompt: dict) -> Result:
    print(f"\n{what} …")

    def show(message: dict) -> None:
        data = message["data"]
        if message["type"] == "cns.live" and data["kind"] == "training":
            print(f"\r  step {data['first'] + len(data['rows'])}/{data['steps']}, {data['seconds']:.0f} s", end="", flush=True)

    result = server.run(prompt, timeout=24 * 3600, on_message=show)
    print()
    if result.error:
        raise SystemExit(f"{result.error['node_type']}: {result.error['exception_message']}")
    print(f"  {result.seconds:.1f} s")
    return result
