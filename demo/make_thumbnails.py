"""Runs every shipped workflow on the demo model and writes ``example_workflows/*.jpg`` of the pictures it makes.

python demo/make_thumbnails.py COMFYUI BASE [NAME ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

from build_workflows import WORKFLOWS
from canvas.workflow_file import FOLDER
from comfy_server import ComfyServer
from on_demo_model import on_demo_model
from PIL import Image, ImageOps
from shipped import execute, shipped_prompt
from tour import fetched
from workflow import change, find

_SIDE, _GAP = 400, 8


def main(comfyui: Path, base: Path, names: list[str]) -> None:
    with ComfyServer(comfyui, base, options=("--cpu",)) as server:
        saved: dict[str, str] = {}  # workflow -> state
        for name in names:
            prompt = shipped_prompt(name, server.object_info())
            if find(prompt, "CheckpointLoaderSimple"):
                on_demo_model(prompt)
            taught_by = "two_of_a_kind_no_gpu" if name == "two_of_a_kind" else "continual_training"
            change(prompt, "CNS_LoadState", state_name=saved.get(taught_by))
            result = execute(server, name, prompt)
            for node in find(prompt, "CNS_SaveState"):
                saved[name] = Path(result.outputs[node]["text"][0].splitlines()[0]).name
            saves = find(prompt, "SaveImage")
            each = 2 if len(saves) == 2 else 1
            shown = [Image.fromarray(picture) for node in saves for picture in fetched(server, result, node)[:each]]
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


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or [build.__name__ for build in WORKFLOWS])
