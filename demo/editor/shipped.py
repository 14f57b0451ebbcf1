"""The workflows that ship with the pack, run on a server."""

from __future__ import annotations

from demo.editor.comfy_server import ComfyServer, Result
from demo.editor.workflows import graph_of


def shipped_prompt(name: str, object_info: dict) -> dict:
    return graph_of(name, object_info).prompt


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
