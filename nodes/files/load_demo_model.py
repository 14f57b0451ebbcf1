from __future__ import annotations

import folder_paths
from comfy_api.latest import io
from safetensors import SafetensorError

from ...cns_core.errors import CNSError
from ...demo.model import MODEL_FILE, load_demo_model
from ..checks import checked
from ..common import CATEGORY_FILES, Schema


class LoadDemoModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_LoadDemoModel",
            display_name="Load CNS Demo Model",
            category=CATEGORY_FILES,
            description="A small model in SD 1.5's shape that comes with the pack: it draws 128-pixel scenes of coloured "
            "things in places, and learns a concept in about a minute on a CPU. Wire it like a checkpoint to see what the "
            "nodes do.",
            search_aliases=["demo", "example", "tour", "tiny model", "toy"],
            outputs=[
                io.Model.Output(tooltip="For 128 x 128 pixels; KSampler with 12 steps and cfg 4 is a good start."),
                io.Clip.Output(
                    tooltip="Knows prompts such as 'a big striped red star left of a blue house in a forest, neon'."
                ),
                io.Vae.Output(tooltip="A small autoencoder with SD 1.5's latent shape."),
            ],
        )

    @classmethod
    @checked
    def execute(cls) -> io.NodeOutput:
        try:
            loaded = load_demo_model(MODEL_FILE, folder_paths.get_folder_paths("embeddings"))
        except (OSError, SafetensorError) as error:
            raise CNSError(f"The demo model {MODEL_FILE} cannot be read ({error}): install the pack again.") from error
        return io.NodeOutput(*loaded)
