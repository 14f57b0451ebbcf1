from __future__ import annotations

from comfy_api.latest import io

from ...cns_core.errors import CNSError
from ...cns_core.figures import state_figures
from ...cns_core.overlaps import new_to
from ...cns_core.state import CNSState
from ..checks import checked
from ..common import CATEGORY_INSPECT, WHERE, Schema, StateSocket, show
from .plots import budget_plot, overlap_plot, state_layers_plot


class InspectState(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_InspectState",
            display_name="Inspect CNS State",
            category=CATEGORY_INSPECT,
            description="Plots a state: how many neurons each concept has, where they are, and which are shared.",
            search_aliases=["plot", "overlap", "statistics", "analyze"],
            hidden=WHERE,
            inputs=[StateSocket.Input("state", tooltip="From Train CNS Step or Load CNS State.")],
            outputs=[
                io.Image.Output(display_name="neurons", tooltip="Neurons of each concept, new and shared, beside the paper's."),
                io.Image.Output(
                    display_name="layers", tooltip="Share of each cross-attention matrix that each concept trains."
                ),
                io.Image.Output(display_name="overlaps", tooltip="Intersection over union of each pair of concepts' neurons."),
                io.String.Output(display_name="summary", tooltip="The concepts, one per line."),
            ],
        )

    @classmethod
    @checked
    def execute(cls, state: CNSState) -> io.NodeOutput:
        if not state.concepts:
            raise CNSError("The state wired in holds no concepts: wire Train CNS Step or Load CNS State.")
        names = [concept.name for concept in state.concepts]
        masks = [concept.mask for concept in state.concepts]
        show(state, cls.hidden)
        return io.NodeOutput(
            budget_plot(names, [mask.share for mask in masks], new_to(masks)),
            state_layers_plot(dict(zip(names, masks, strict=True))),
            overlap_plot(names, state.overlaps, "Neurons that concepts share"),
            state_figures(state),
        )
