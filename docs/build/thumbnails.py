"""Runs every shipped workflow on the demo model and writes ``example_workflows/*.jpg`` of the pictures it makes."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

from demo.editor.canvas.workflow_file import FOLDER
from demo.editor.comfy_server import ComfyServer
from demo.editor.shipped import execute, shipped_prompt
from demo.editor.workflow import change, find
from demo.tour import fetched
from docs.build.on_demo_model import on_demo_model
from docs.build.workflows import WORKFLOWS

_SIDE, _GAP = 400, 8


def make(server: ComfyServer) -> None:
    saved: dict[str, str] = {}  # workflow -> state
    for name in (build.__name__ for build in WORKFLOWS):
        prompt = shipped_prompt(name, server.object_info())
        if find(prompt, "CheckpointLoaderSimple"):
            on_demo_model(prompt)
        change(prompt, "CNS_LoadState", state_name=saved.get("continual_training"))
        result = execute(server, name, prompt)
        for node in find(prompt, "CNS_SaveState"):
            saved[name] = Path(result.outputs[node]["text"][0].splitlines()[0]).name
        shown = [Image.fromarray(fetched(server, result, node)[0]) for node in find(prompt, "SaveImage")]
        mosaic(shown[-4:]).save(FOLDER / f"{name}.jpg", quality=85)


def mosaic(pictures: list[Image.Image]) -> Image.Image:
    """A square of one, or of four fields."""
    across = 1 if len(pictures) == 1 else 2
    side = (_SIDE - _GAP * (across - 1)) // across
    image = Image.new("RGB", (_SIDE, _SIDE), "white")
    for number, picture in enumerate(pictures):
        at = (number % across) * (side + _GAP), (number // across) * (side + _GAP)
        image.paste(ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS), at)
    return image
