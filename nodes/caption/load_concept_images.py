from __future__ import annotations

import torch
from comfy_api.latest import io

from ...cns_core.comfy_adapter.page.progress import Progress
from ...cns_core.comfy_adapter.pictures.folders import concept_folders, find_pictures, fingerprint, load_pictures
from ...cns_core.config import TrainConfig
from ..checks import checked
from ..common import CATEGORY_FILES, Schema, node_id


class LoadConceptImages(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_LoadConceptImages",
            display_name="Load Concept Images",
            category=CATEGORY_FILES,
            description="Loads every image in a folder inside ComfyUI's input, with the captions and masks from files beside "
            "them, and lists what it loaded and what it left out.",
            search_aliases=["load folder", "image folder", "dataset", "sidecar captions", "masks"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=concept_folders(),
                    tooltip="A folder inside ComfyUI's input. dog/01.jpg may have its caption in dog/01.txt or dog/01.caption.",
                ),
                io.Int.Input(
                    "resolution",
                    default=TrainConfig.resolution,
                    min=64,
                    max=2048,
                    step=64,
                    optional=True,
                    tooltip="Larger images are scaled down to this many pixels on the shorter side as they are read. "
                    "Use the resolution of Train CNS Step.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", is_output_list=True, tooltip="The images, each in its own proportions."),
                io.String.Output(
                    display_name="captions",
                    is_output_list=True,
                    tooltip="The first caption of each image's text file; empty where there is none.",
                ),
                io.Mask.Output(
                    display_name="masks",
                    is_output_list=True,
                    tooltip="White where the concept is: from 01-masklabel.png or 01_mask.png beside 01.jpg, or a PNG's alpha "
                    "channel. All black where there is none, which means the whole image.",
                ),
            ],
        )

    @classmethod
    @checked
    def execute(cls, folder: str, resolution: int = TrainConfig.resolution) -> io.NodeOutput:
        found = find_pictures(folder)
        progress = Progress(len(found.pictures), node_id(cls.hidden))
        loaded = load_pictures(found, resolution, progress.advance)
        progress.text(loaded.report)
        masks = [mask if mask is not None else torch.zeros(1, 64, 64) for mask in loaded.masks]  # as core's Load Image does
        return io.NodeOutput(loaded.images, loaded.captions, masks, ui={"text": (loaded.report,)})

    @classmethod
    def fingerprint_inputs(  # pyright: ignore[reportIncompatibleMethodOverride] - called by name
        cls, folder: str, resolution: int = TrainConfig.resolution
    ) -> tuple:
        return fingerprint(find_pictures(folder))
