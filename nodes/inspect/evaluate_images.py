from __future__ import annotations

import torch
from comfy_api.latest import io

from ...cns_core.calibration import split_prompts
from ...cns_core.comfy_adapter.checkpoint.latents import image_list
from ...cns_core.comfy_adapter.judge import judge_names, judged, load_judge
from ...cns_core.comfy_adapter.page.progress import Progress
from ...cns_core.concept import Concept, check_images
from ...cns_core.evaluation import as_table, prompt_of_each, told
from ...cns_core.figures import markdown_list
from ..checks import checked, takes_lists
from ..common import CATEGORY_INSPECT, ConceptSocket, Schema, node_id
from .plots import score_plot

CONCEPTS = ("concept", "concept_2", "concept_3")


class EvaluateImages(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        names = judge_names()
        return Schema(
            node_id="CNS_EvaluateImages",
            display_name="Evaluate CNS Images",
            category=CATEGORY_INSPECT,
            description="Scores images as the paper does: how well they match their prompts (CLIP-T), and how much they look "
            "like the concepts named there (CLIP-I).",
            hidden=[io.Hidden.unique_id],
            search_aliases=["score", "CLIP score", "CLIP-T", "CLIP-I", "DINO", "judge", "benchmark"],
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="What to score: a batch, or a list if their sizes differ."),
                io.String.Input(
                    "prompts",
                    default="",
                    multiline=True,
                    tooltip="What they were made with, tokens included: one line for all images, or several, each for an equal "
                    "share of the images, in order.",
                ),
                io.Combo.Input(
                    "judge",
                    options=names,
                    default=names[0],
                    tooltip="A CLIP or DINO model from models/cns_judges. The paper's figures come from clip-vit-base-patch32.",
                ),
                io.Boolean.Input(
                    "download_judge",
                    default=False,
                    tooltip="Fetch the judge from Hugging Face into models/cns_judges if it is not there "
                    "(clip-vit-base-patch32: 0.6 GB).",
                ),
                *(
                    ConceptSocket.Input(
                        name,
                        optional=True,
                        tooltip="From Caption Concept Images: what images should look like if their prompt has its token.",
                    )
                    for name in CONCEPTS
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="summary",
                    tooltip="The mean scores and, for each concept, how its own images score against each other.",
                ),
                io.String.Output(display_name="table", tooltip="The scores of each image, as a table."),
                io.Image.Output(display_name="plot", tooltip="The scores of each image, as a plot."),
                io.Float.Output(
                    display_name="scores",
                    is_output_list=True,
                    tooltip="CLIP-T of each image; likeness to the first concept where the judge reads no text.",
                ),
            ],
        )

    @classmethod
    @takes_lists
    @checked
    def execute(
        cls,
        images: list[torch.Tensor],
        prompts: list[str],
        judge: list[str],
        download_judge: list[bool],
        concept: list[Concept] | None = None,
        concept_2: list[Concept] | None = None,
        concept_3: list[Concept] | None = None,
    ) -> io.NodeOutput:
        pictures, known = image_list(images), [*(concept or ()), *(concept_2 or ()), *(concept_3 or ())]
        check_images(pictures)
        texts = prompt_of_each([line for text in prompts for line in split_prompts(text)], len(pictures))
        progress = Progress(len(pictures) + sum(len(one.images) for one in known), node_id(cls.hidden))
        loaded = load_judge(judge[0], download_judge[0], progress.text)
        scores = judged(loaded, pictures, texts, known, progress.advance)
        summary = markdown_list(told(scores))
        each = scores.text if scores.text is not None else next(iter(scores.alike.values()), None)
        return io.NodeOutput(summary, as_table(scores), score_plot(scores), [] if each is None else each.tolist())
