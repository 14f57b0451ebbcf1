from __future__ import annotations

from comfy_api.latest import io

from ...cns_core.calibration import shipped_prompts, split_prompts
from ...cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from ...cns_core.comfy_adapter.neurons import compute_neurons, draw_calibration
from ...cns_core.config import SelectionConfig
from ..checks import checked
from ..common import CATEGORY, NeuronsSocket, Schema, node_id, seed_input
from .inputs import neuron_summary, top_percent_input


class ComputeGeneralNeurons(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_ComputeGeneralNeurons",
            display_name="Compute General Neurons",
            category=CATEGORY,
            description="Finds the K/V weights that matter for all kinds of prompts; concepts leave these alone. "
            "Needed once per checkpoint.",
            search_aliases=["neurons", "wanda", "mask", "calibration"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Model.Input("model", tooltip="An SD 1.5 checkpoint straight from its loader, without LoRAs."),
                io.Clip.Input("clip", tooltip="The same checkpoint's CLIP."),
                top_percent_input(),
                io.Int.Input(
                    "count",
                    default=SelectionConfig.calibration_count,
                    min=1,
                    max=1000,
                    tooltip="How many of the calibration prompts to draw (K in the paper: 20).",
                ),
                seed_input(SelectionConfig.seed, "Chooses which prompts are drawn."),
                io.String.Input(
                    "calibration_prompts",
                    default="\n".join(shipped_prompts()),
                    multiline=True,
                    tooltip="One prompt per line, as different from each other as possible. Empty lines are ignored.",
                ),
            ],
            outputs=[
                NeuronsSocket.Output(
                    display_name="general_neurons", tooltip="The weights that every calibration prompt selects."
                ),
                io.String.Output(display_name="summary", tooltip="How many weights were selected."),
            ],
        )

    @classmethod
    @checked
    def execute(cls, model, clip, top_percent: float, count: int, seed: int, calibration_prompts: str) -> io.NodeOutput:
        config = SelectionConfig(top_percent / 100, count, seed)
        prompts = draw_calibration(split_prompts(calibration_prompts), config)
        neurons = compute_neurons(Checkpoint(model, clip), prompts, config.top_fraction, "general", node_id(cls.hidden))
        return io.NodeOutput(neurons, neuron_summary(neurons))
