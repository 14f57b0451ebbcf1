from __future__ import annotations

from comfy_api.latest import io

from ...cns_core.comfy_adapter.regions.region import Region as RegionOfPicture
from ...cns_core.comfy_adapter.regions.region import mask_of_bounding_boxes
from ...cns_core.errors import CNSError
from ..checks import checked
from ..common import CATEGORY_REGIONS, BoundingBoxSocket, RegionsSocket, Schema, advanced


def _canvas(name: str) -> io.Int.Input:
    tooltip = f"Only used with bboxes: {name} of the canvas they were drawn on."
    return advanced(io.Int.Input(name, default=512, min=16, max=16384, step=8, tooltip=tooltip))


class Region(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_Region",
            display_name="Region",
            category=CATEGORY_REGIONS,
            description="A prompt for one part of the picture. Chain as many as you like; the last goes into Apply Regions.",
            search_aliases=["regional prompt", "attention couple", "area", "mask", "two characters"],
            inputs=[
                io.Conditioning.Input(
                    "conditioning",
                    tooltip="What to draw there: a prompt for the whole picture, such as two dogs in a park, a <new1> dog.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How much of the sampler's prompt this region replaces inside its mask: 1 all of it, 0 nothing.",
                ),
                _canvas("width"),
                _canvas("height"),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="White where the region is, grey for soft edges. It is stretched to the size of the picture.",
                ),
                BoundingBoxSocket.Input(
                    "bboxes",
                    optional=True,
                    extra_dict={"forceInput": True},
                    tooltip="Instead of a mask: one or more boxes, for example from Create Bounding Boxes.",
                ),
                io.Conditioning.Input(
                    "negative",
                    optional=True,
                    tooltip="A negative prompt for this region. Without it the sampler's negative prompt applies here too.",
                ),
                RegionsSocket.Input("regions", optional=True, tooltip="From another Region: the regions before this one."),
            ],
            outputs=[RegionsSocket.Output(display_name="regions", tooltip="For Apply Regions, or for the next Region.")],
        )

    @classmethod
    @checked
    def execute(
        cls, conditioning, strength: float, width: int, height: int, mask=None, bboxes=None, negative=None, regions=()
    ) -> io.NodeOutput:
        where = mask if bboxes is None else mask_of_bounding_boxes(bboxes, width, height)
        if where is None or (mask is not None and bboxes is not None):
            raise CNSError("Region needs to know where it is: wire a mask or bboxes, but not both.")
        return io.NodeOutput((*regions, RegionOfPicture.of(conditioning, negative, where, strength)))
