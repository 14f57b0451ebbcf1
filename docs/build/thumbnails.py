"""Runs every shipped workflow on the demo model and writes ``example_workflows/*.jpg`` of the pictures it makes."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from demo.contact_sheet import contact_sheet
from demo.editor.canvas.workflow_file import FOLDER
from demo.editor.comfy_server import ComfyServer
from demo.editor.graph import change, find
from demo.editor.shipped import execute, shipped_prompt
from demo.editor.workflows import WORKFLOWS
from demo.tour import fetched
from docs.build.on_demo_model import on_demo_model, saved_state, selected_state, write_things

_SIDE, _GAP = 400, 8


def make(server: ComfyServer) -> None:
    saved: dict[str, str] = {}  # workflow -> state
    things = write_things(server.base / "input")
    for name in WORKFLOWS:
        prompt = shipped_prompt(name, server.object_info())
        if find(prompt, "CheckpointLoaderSimple"):
            on_demo_model(prompt)
        change(prompt, "CNS_TeachFolder", folder=things, start_over=True)
        taught_by = "two_of_a_kind_no_gpu" if name == "two_of_a_kind" else "continual_training"
        state = selected_state(server) if name == "inspect" else saved.get(taught_by)
        change(prompt, "CNS_LoadState", state_name=state)
        result = execute(server, name, prompt)
        if find(prompt, "CNS_SaveState"):
            saved[name] = saved_state(prompt, result)
        saves = find(prompt, "SaveImage")
        each = 2 if len(saves) == 2 else 1
        shown = [Image.fromarray(picture) for node in saves for picture in fetched(server, result, node)[:each]]
        mosaic(shown[-4:]).save(FOLDER / f"{name}.jpg", quality=85)


def mosaic(pictures: list[Image.Image]) -> Image.Image:
    """A square of one, or of four fields."""
    across = 1 if len(pictures) == 1 else 2
    side = (_SIDE - _GAP * (across - 1)) // across
    fields = [np.asarray(ImageOps.pad(picture, (side, side), Image.Resampling.LANCZOS, "white")) for picture in pictures]
    return contact_sheet([fields[start : start + across] for start in range(0, len(fields), across)], gap=_GAP)
