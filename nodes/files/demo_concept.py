from __future__ import annotations

import reprlib

import numpy as np
import torch
from comfy_api.latest import io

from ...cns_core.errors import CNSError
from ...demo.world.new_concepts import NEW_CONCEPTS, teaching_pictures
from ..checks import checked
from ..common import CATEGORY_FILES, Schema


class DemoConcept(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_DemoConcept",
            display_name="Demo Concept Images",
            category=CATEGORY_FILES,
            description="Draws pictures of something the CNS demo model has never seen, with their captions, to teach it.",
            search_aliases=["demo", "example images", "toy", "teach"],
            inputs=[
                io.Combo.Input(
                    "concept",
                    options=list(NEW_CONCEPTS),
                    tooltip="A thing, a place (candyland, volcano, library, planet) or a style (blueprint, mosaic, sepia).",
                ),
                io.Int.Input("count", default=5, min=1, max=20, tooltip="How many pictures; 4 to 6 work well."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**31 - 1,
                    control_after_generate=False,
                    tooltip="Each seed shows the concept in different surroundings.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="128 x 128 pixels each; wire it to Caption Concept Images."),
                io.String.Output(display_name="captions", tooltip="One line for each image, with the class noun in it."),
                io.String.Output(display_name="noun", tooltip="A class the demo model knows: toy, bird, house, art …"),
            ],
        )

    @classmethod
    @checked
    def execute(cls, concept: str, count: int, seed: int) -> io.NodeOutput:
        if concept not in NEW_CONCEPTS:
            raise CNSError(f"There is no demo concept {reprlib.repr(concept)}: choose one of {', '.join(NEW_CONCEPTS)}.")
        pictures, captions = teaching_pictures(concept, count, seed)
        images = torch.from_numpy(np.stack(pictures).astype(np.float32) / 255)
        return io.NodeOutput(images, "\n".join(captions), NEW_CONCEPTS[concept].noun)
