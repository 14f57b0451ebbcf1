from __future__ import annotations

from datetime import datetime

from comfy_api.latest import io

from ...cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from ...cns_core.comfy_adapter.export.export import TARGETS, export_state
from ...cns_core.comfy_adapter.export.folder import new_export_folder
from ...cns_core.comfy_adapter.export.tensors import PRECISIONS
from ...cns_core.comfy_adapter.file_names import fill_in
from ...cns_core.errors import CNSError
from ...cns_core.state import CNSState
from ..checks import checked
from ..common import CATEGORY_FILES, Schema, StateSocket, prompt_nodes


class ExportState(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_ExportState",
            display_name="Export CNS State",
            category=CATEGORY_FILES,
            description="Writes a state for programs without this pack: a LoRA for ComfyUI, Forge, A1111, SD.Next and "
            "InvokeAI, weights for diffusers, or a whole checkpoint, and a file for each token.",
            search_aliases=["lora", "lycoris", "embedding", "textual inversion", "diffusers", "save checkpoint"],
            hidden=[io.Hidden.prompt],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The checkpoint the state was made for."),
                io.Clip.Input("clip", tooltip="The same checkpoint's CLIP."),
                StateSocket.Input("state", tooltip="From Train CNS Step or Load CNS State."),
                io.Combo.Input(
                    "target",
                    options=list(TARGETS),
                    tooltip="LoRA: for Load LoRA, Forge, A1111, SD.Next and InvokeAI. diffusers: K and V for its UNet. "
                    "checkpoint: MODEL, CLIP and VAE in one file that any program loads. All come with the tokens as "
                    "embeddings.",
                ),
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    tooltip="float16: half the size, as exact as a float16 checkpoint. A checkpoint keeps its own precision.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="cns_export/concepts",
                    tooltip="A new folder inside output for the files. Its last part names the LoRA and, together with "
                    "the token, each embedding: concepts-new1.",
                ),
                io.Vae.Input("vae", optional=True, tooltip="The same checkpoint's VAE. Only needed for the target checkpoint."),
            ],
            outputs=[
                io.String.Output(display_name="folder", tooltip="The folder that was made."),
                io.String.Output(
                    display_name="summary", tooltip="The files, how exact they are, and how to write the concepts in prompts."
                ),
            ],
        )

    @classmethod
    @checked
    def execute(
        cls, model, clip, state: CNSState, target: str, precision: str, filename_prefix: str, vae=None
    ) -> io.NodeOutput:
        if precision not in PRECISIONS:
            raise CNSError(f"There is no precision '{precision}': choose one of {', '.join(PRECISIONS)}.")
        prefix = fill_in(filename_prefix, prompt_nodes(cls.hidden), datetime.now())
        checkpoint = Checkpoint(model, clip, vae)
        folder, lines = export_state(checkpoint, state, target, PRECISIONS[precision], lambda: new_export_folder(prefix))
        summary = "\n".join(lines)
        return io.NodeOutput(str(folder), summary, ui={"text": (summary,)})
