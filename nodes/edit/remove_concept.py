from __future__ import annotations

from comfy_api.latest import io

from ...cns_core.calibration import split_prompts
from ...cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from ...cns_core.comfy_adapter.remove import remove
from ...cns_core.figures import markdown_list, state_figures
from ...cns_core.state import CNSState
from ..checks import checked
from ..common import CATEGORY, WHERE, Schema, StateSocket, node_id, show


class RemoveConcept(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_RemoveConcept",
            display_name="Remove CNS Concept",
            category=CATEGORY,
            description="Removes any one concept from a state, without needing its pictures, and frees its token. "
            "The others stay as they are.",
            search_aliases=["unlearn", "forget", "erase", "delete concept", "undo"],
            hidden=WHERE,
            inputs=[
                io.Model.Input("model", tooltip="The checkpoint the state was made for."),
                io.Clip.Input("clip", tooltip="The same checkpoint's CLIP."),
                StateSocket.Input("state", tooltip="From Train CNS Step or Load CNS State."),
                io.String.Input("token", default="<new1>", tooltip="The token of the concept to remove."),
                io.String.Input(
                    "ordinary_prompts",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="Prompts without tokens that the removal must not affect, one per line, at least two. Empty: the "
                    "100 that come with the pack.",
                ),
            ],
            outputs=[
                StateSocket.Output(display_name="state", tooltip="The state without it; wire it to Save, Apply or Train."),
                io.String.Output(display_name="summary", tooltip="What is left of the concept, and how far the others moved."),
            ],
        )

    @classmethod
    @checked
    def execute(cls, model, clip, state: CNSState, token: str, ordinary_prompts: str = "") -> io.NodeOutput:
        state, lines = remove(Checkpoint(model, clip), state, token, split_prompts(ordinary_prompts), node_id(cls.hidden))
        show(state, cls.hidden)
        summary = f"{markdown_list(lines)}\n{state_figures(state)}"
        return io.NodeOutput(state, summary, ui={"text": (summary,)})
