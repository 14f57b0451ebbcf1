from __future__ import annotations

import numpy as np
import torch
from comfy_api.latest import io
from PIL import Image, ImageOps

from ...cns_core.comfy_adapter import folders
from ...cns_core.errors import CNSError
from ..kinds import CATEGORY_FILES, Schema


class LoadConceptImages(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_LoadConceptImages",
            display_name="Load Concept Images",
            category=CATEGORY_FILES,
            description="Loads every image of a folder inside ComfyUI's input, with the captions of .txt files beside them.",
            search_aliases=["load folder", "image folder", "dataset", "sidecar captions"],
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=folders.concept_folders(),
                    tooltip="A folder inside ComfyUI's input. dog/01.jpg may have its caption in dog/01.txt.",
                )
            ],
            outputs=[
                io.Image.Output(display_name="images", is_output_list=True, tooltip="The images, each in its own size."),
                io.String.Output(
                    display_name="captions",
                    is_output_list=True,
                    tooltip="The text of each image's .txt file; empty where there is none.",
                ),
            ],
        )

    @classmethod
    def execute(cls, folder: str) -> io.NodeOutput:
        paths = folders.concept_images(folder)
        return io.NodeOutput([_load(path) for path in paths], [_caption(path) for path in paths])

    @classmethod
    def fingerprint_inputs(cls, folder: str) -> list[tuple[str, int]]:
        paths = folders.concept_images(folder)
        files = [file for path in paths for file in (path, path.with_suffix(".txt")) if file.is_file()]
        return [(file.name, file.stat().st_mtime_ns) for file in files]


def _load(path) -> torch.Tensor:
    """On white where it is transparent."""
    try:
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGBA")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise CNSError(f"{path} cannot be read as an image: save it again as PNG or JPEG, or take it out.") from error
    white = Image.new("RGBA", upright.size, "white")
    pixels = np.asarray(Image.alpha_composite(white, upright).convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels).unsqueeze(0)


def _caption(path) -> str:
    sidecar = path.with_suffix(".txt")
    if not sidecar.is_file():
        return ""
    try:
        return " ".join(sidecar.read_text(encoding="utf-8-sig").split())
    except (OSError, UnicodeDecodeError) as error:
        raise CNSError(f"The caption {sidecar} cannot be read: save it as UTF-8 text.") from error
