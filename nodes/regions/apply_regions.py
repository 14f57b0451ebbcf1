from __future__ import annotations

from comfy_api.latest import io

from ...cns_core.comfy_adapter.regions.apply import apply_regions
from ...cns_core.comfy_adapter.regions.region import Region
from ..checks import checked
from ..common import CATEGORY_REGIONS, RegionsSocket, Schema


class ApplyRegions(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_ApplyRegions",
            display_name="Apply Regions",
            category=CATEGORY_REGIONS,
            description="Draws each region from its own prompt, all in one pass. Outside them the sampler's prompt applies.",
            search_aliases=["regional prompt", "attention couple", "two characters", "mix-of-show"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="From Apply CNS State, or any SD 1.x, 2.x or SDXL model. LoRAs may come before or after.",
                ),
                RegionsSocket.Input("regions", tooltip="From the last Region."),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="For the sampler.")],
        )

    @classmethod
    @checked
    def execute(cls, model, regions: tuple[Region, ...]) -> io.NodeOutput:
        return io.NodeOutput(apply_regions(model, regions))
