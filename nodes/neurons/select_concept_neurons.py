from __future__ import annotations

from comfy_api.latest import io

from ...cns_core.comfy_adapter.neurons import Neurons, select_neurons
from ...cns_core.config import SelectionConfig
from ...cns_core.figures import selection_figures
from ...cns_core.selection import STRATEGIES
from ...cns_core.state import CNSState
from ..checks import checked
from ..common import CATEGORY, NeuronsSocket, Schema, StateSocket, seed_input
from ..plots import selection_plot


class SelectConceptNeurons(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_SelectConceptNeurons",
            display_name="Select Concept Neurons",
            category=CATEGORY,
            description="Concept neurons: the base neurons that are not general. These are what Train CNS Step trains.",
            search_aliases=["neurons", "mask", "selection"],
            inputs=[
                NeuronsSocket.Input("base_neurons", tooltip="From Compute Base Neurons."),
                NeuronsSocket.Input("general_neurons", tooltip="From Compute General Neurons."),
                io.Combo.Input(
                    "strategy",
                    options=list(STRATEGIES),
                    default=next(iter(STRATEGIES)),
                    tooltip="concept: the paper's method. random: the same number per row, drawn at random. base: general "
                    "neurons included. all K/V: every weight. base and all K/V learn more and make larger files; random is "
                    "for comparison.",
                ),
                seed_input(SelectionConfig.seed, "Only used by random."),
                StateSocket.Input(
                    "state", optional=True, tooltip="Earlier concepts, to report the overlap with their neurons."
                ),
            ],
            outputs=[
                NeuronsSocket.Output(display_name="neurons", tooltip="What Train CNS Step trains."),
                io.String.Output(display_name="summary", tooltip="Counts, shares and overlaps beside the paper's."),
                io.Image.Output(display_name="plot", tooltip="Share of selected weights in each layer."),
            ],
        )

    @classmethod
    @checked
    def execute(
        cls, base_neurons: Neurons, general_neurons: Neurons, strategy: str, seed: int, state: CNSState | None = None
    ) -> io.NodeOutput:
        neurons = select_neurons(base_neurons, general_neurons, strategy, seed, state)
        figures = selection_figures(base_neurons.mask, general_neurons.mask, neurons.mask, state)
        return io.NodeOutput(neurons, figures, selection_plot(base_neurons.mask, general_neurons.mask, neurons.mask))
