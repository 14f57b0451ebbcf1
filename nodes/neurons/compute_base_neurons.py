from __future__ import annotations

from comfy_api.latest import io

from ...cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from ...cns_core.comfy_adapter.neurons import caption_figures, compute_neurons
from ...cns_core.concept import Concept
from ..checks import checked
from ..common import CATEGORY, ConceptSocket, NeuronsSocket, Schema, node_id
from .inputs import neuron_summary, top_percent_input


class ComputeBaseNeurons(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_ComputeBaseNeurons",
            display_name="Compute Base Neurons",
            category=CATEGORY,
            description="Finds the cross-attention K/V weights that matter for every caption of the concept.",
            search_aliases=["neurons", "wanda", "mask", "importance"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Model.Input("model", tooltip="An SD 1.5 checkpoint straight from its loader, without LoRAs."),
                io.Clip.Input("clip", tooltip="The same checkpoint's CLIP."),
                ConceptSocket.Input("concept", tooltip="From Caption Concept Images."),
                top_percent_input(),
            ],
            outputs=[
                NeuronsSocket.Output(display_name="base_neurons", tooltip="The weights that every caption selects."),
                io.String.Output(
                    display_name="summary",
                    tooltip="How many weights were selected, and what the captions' words contribute to that.",
                ),
            ],
        )

    @classmethod
    @checked
    def execute(cls, model, clip, concept: Concept, top_percent: float) -> io.NodeOutput:
        captions = list(concept.descriptions)
        checkpoint = Checkpoint(model, clip)
        neurons = compute_neurons(checkpoint, captions, top_percent / 100, "base", node_id(cls.hidden))
        return io.NodeOutput(neurons, neuron_summary(neurons, caption_figures(checkpoint, neurons)))
