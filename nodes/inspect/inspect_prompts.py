from __future__ import annotations

from comfy_api.latest import io

from ...cns_core.calibration import shipped_prompts, split_prompts
from ...cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from ...cns_core.comfy_adapter.neurons import draw_calibration, prompt_masks
from ...cns_core.config import SelectionConfig
from ...cns_core.errors import CNSError
from ...cns_core.overlaps import overlaps, shared_by_prompts
from ..checks import checked
from ..common import CATEGORY_INSPECT, Schema, node_id
from ..neurons.inputs import top_percent_input
from .plots import overlap_plot, query_plot, shared_plot

_QUERIES = ("dog", "cat", "horse", "car", "bicycle", "chair", "house", "tree", "flower", "hat", "painting")


class InspectPrompts(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_InspectPrompts",
            display_name="Inspect Prompt Neurons",
            category=CATEGORY_INSPECT,
            description="Plots which neurons prompts select: how many are shared by all (the paper's figure 3), and how "
            "similar queries are without those (its figure 7).",
            search_aliases=["plot", "overlap", "wanda", "similarity", "analyze"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Model.Input("model", tooltip="An SD 1.5 checkpoint straight from its loader, without LoRAs."),
                io.Clip.Input("clip", tooltip="The same checkpoint's CLIP."),
                top_percent_input(""),
                io.String.Input(
                    "queries",
                    default="\n".join(f"photo of a {query}" for query in _QUERIES),
                    multiline=True,
                    tooltip="One prompt per line: the rows and columns of the similarity matrix.",
                ),
                io.String.Input(
                    "calibration_prompts",
                    default="\n".join(draw_calibration(shipped_prompts(), SelectionConfig())),
                    multiline=True,
                    tooltip="One prompt per line, added in this order. What all of them select is removed from the queries.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="shared", tooltip="Share of a selection that 1, 2, … prompts have in common."),
                io.Image.Output(
                    display_name="similarity", tooltip="Overlap of the queries' neurons, without the general ones."
                ),
                io.Image.Output(
                    display_name="shares", tooltip="Share of K/V each query selects, and how much of that is not general."
                ),
            ],
        )

    @classmethod
    @checked
    def execute(cls, model, clip, top_percent: float, queries: str, calibration_prompts: str) -> io.NodeOutput:
        names, prompts = split_prompts(queries), split_prompts(calibration_prompts)
        if not names or not prompts:
            raise CNSError("queries or calibration_prompts is empty: write at least one prompt in each, one per line.")
        masks = prompt_masks(Checkpoint(model, clip), [*prompts, *names], top_percent / 100, node_id(cls.hidden))
        calibration, asked = masks[: len(prompts)], masks[len(prompts) :]
        shares = shared_by_prompts(calibration)
        general = calibration[0]
        for mask in calibration[1:]:
            general = general & mask
        own = [mask.without(general) for mask in asked]
        similarity = overlap_plot(names, overlaps(own), "Neurons that queries share")
        parts = query_plot(names, [mask.share for mask in asked], [mask.share for mask in own])
        return io.NodeOutput(shared_plot(shares), similarity, parts)
