from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ...cns_core.comfy_adapter.demo_model import load_demo_model
from ..kinds import CATEGORY_FILES, Schema, checked

DEMO_MODEL = Path(__file__).parents[2] / "demo" / "cns_demo_model.safetensors"


class LoadDemoModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_LoadDemoModel",
            display_name="Load CNS Demo Model",
            category=CATEGORY_FILES,
            description="A small model in SD 1.5's shape that comes with the pack: it draws 128 pixel scenes of coloured "
            "things in places, and learns a concept in about a minute on a CPU. Wire it like a checkpoint to see what the "
            "nodes do.",
            search_aliases=["demo", "example", "tour", "tiny model", "toy"],
            outputs=[
                io.Model.Output(tooltip="For 128 x 128 pixels; KSampler with 12 steps and cfg 3 is a good start."),
                io.Clip.Output(
                    tooltip="Knows prompts such as 'a big striped red star left of a blue house in a forest, neon'."
                ),
                io.Vae.Output(tooltip="A small autoencoder with SD 1.5's latent shape."),
            ],
        )

    @classmethod
    @checked
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(*load_demo_model(DEMO_MODEL, folder_paths.get_folder_paths("embeddings")))
