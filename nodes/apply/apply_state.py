from __future__ import annotations

from comfy_api.latest import io

from ...cns_core.comfy_adapter.apply.apply import apply_state
from ...cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from ...cns_core.history import parse_strengths, with_strengths
from ...cns_core.state import CNSState
from ..checks import checked
from ..common import CATEGORY, WHERE, Schema, StateSocket, show


class ApplyState(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_ApplyState",
            display_name="Apply CNS State",
            category=CATEGORY,
            description="Adds all concepts of a state to the checkpoint: prompts then understand <new1>, <new2>, … anywhere.",
            search_aliases=["apply", "load concepts", "multi concept"],
            hidden=WHERE,
            inputs=[
                io.Model.Input("model", tooltip="The checkpoint the state was made for. LoRAs may come before or after."),
                io.Clip.Input("clip", tooltip="The same checkpoint's CLIP."),
                StateSocket.Input("state", tooltip="From Train CNS Step or Load CNS State."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=0.05,
                    tooltip="How much of the learned weight change to use: 1 as trained, 0 the plain checkpoint's weights. "
                    "Tokens are understood at any strength.",
                ),
                io.String.Input(
                    "concept_strengths",
                    default="",
                    optional=True,
                    tooltip="Strengths of individual concepts, such as <new1> 0.5, <new2> 0. 0 mutes a concept; those you "
                    "don't name stay at 1.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="For the sampler."),
                io.Clip.Output(display_name="clip", tooltip="For CLIP Text Encode."),
            ],
        )

    @classmethod
    @checked
    def execute(cls, model, clip, state: CNSState, strength: float, concept_strengths: str = "") -> io.NodeOutput:
        strong = with_strengths(state, parse_strengths(concept_strengths))
        applied = apply_state(Checkpoint(model, clip), strong, strength)
        show(state, cls.hidden)
        return io.NodeOutput(*applied)
