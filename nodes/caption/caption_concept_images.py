from __future__ import annotations

import torch
from comfy_api.latest import io

from ...cns_core.captions import given_captions
from ...cns_core.comfy_adapter.captioner.captioner import NONE, caption_images, captioner_names
from ...cns_core.comfy_adapter.checkpoint.latents import image_list, single_masks
from ...cns_core.comfy_adapter.page.progress import Progress
from ...cns_core.concept import Concept, check_images, check_noun, check_token
from ...cns_core.errors import CNSError
from ...cns_core.image_masks import MARKS, image_masks, mask_figures
from ..checks import checked, takes_lists
from ..common import CATEGORY, ConceptSocket, Schema, node_id


class CaptionConceptImages(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        names = captioner_names()
        return Schema(
            node_id="CNS_CaptionConceptImages",
            display_name="Caption Concept Images",
            category=CATEGORY,
            description="Collects a concept: its images (3 to 6 are best, one works), a caption for each, its token and its "
            "class noun.",
            hidden=[io.Hidden.unique_id],
            search_aliases=["concept", "caption", "BLIP", "dreambooth", "textual inversion", "teach"],
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="3 to 6 images of the concept: a batch, or a list if their sizes differ."),
                io.String.Input(
                    "token",
                    default="<new1>",
                    tooltip="The new word for this concept, in angle brackets. Each concept needs its own: <new1>, <new2>, …",
                ),
                io.String.Input(
                    "noun", default="dog", tooltip="What kind of thing it is, in one ordinary word: dog, hat, painting."
                ),
                io.Combo.Input(
                    "captioner",
                    options=names,
                    default=names[0],
                    tooltip="A model from models/captioners that describes the images you gave no caption for. "
                    "Your own captions take precedence.",
                ),
                io.Boolean.Input(
                    "download_captioner",
                    default=False,
                    tooltip="Fetch the captioner from Hugging Face into models/captioners if it is not there "
                    "(blip-image-captioning-large: 1.9 GB, blip2-opt-2.7b: 15 GB).",
                ),
                io.String.Input(
                    "captions",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="Your own captions instead of the captioner's: one line for each image, or a list from another "
                    "node. Use the class noun in each, and describe everything else too, in 15 to 30 words.",
                ),
                io.Mask.Input(
                    "masks",
                    optional=True,
                    tooltip="One mask for each image, to learn only what it covers: a batch, or a list if their sizes differ. "
                    "A mask that marks nothing, such as Load Image gives for images without an alpha channel, means the whole "
                    "image.",
                ),
                io.Combo.Input(
                    "mask_marks",
                    options=list(MARKS),
                    default=MARKS[0],
                    optional=True,
                    tooltip="What white means in the masks. concept: for masks that were painted, detected by a node, or "
                    "loaded with Load Concept Images. background: for Load Image's mask of a cut-out picture.",
                ),
            ],
            outputs=[
                ConceptSocket.Output(display_name="concept", tooltip="Images, captions, token and class noun."),
                io.String.Output(display_name="captions", tooltip="The captions, one per line."),
            ],
        )

    @classmethod
    @takes_lists
    @checked
    def execute(
        cls,
        images: list[torch.Tensor],
        token: list[str],
        noun: list[str],
        captioner: list[str],
        download_captioner: list[bool],
        captions: list[str] | None = None,
        masks: list[torch.Tensor] | None = None,
        mask_marks: list[str] | None = None,
    ) -> io.NodeOutput:
        pictures, name, word = image_list(images), check_token(token[0]), check_noun(noun[0])
        check_images(pictures)  # before a captioner is downloaded and run
        marked = image_masks(single_masks(masks or []), pictures, (mask_marks or MARKS)[0])
        texts = given_captions(captions or [""], len(pictures))
        progress = Progress(len(texts), node_id(cls.hidden))
        missing = [index for index, text in enumerate(texts) if not text]
        if missing and captioner[0] == NONE:
            raise CNSError(
                f"The caption of image {missing[0] + 1} is empty and no captioner is chosen: write it, for example "
                f"'a {word} on grass', or choose a captioner."
            )
        if missing:
            wanted = {index + 1: pictures[index] for index in missing}
            made = caption_images(wanted, captioner[0], download_captioner[0], progress.advance, progress.text)
            texts = [made.get(number, text) for number, text in enumerate(texts, start=1)]
        understood = mask_figures(marked)
        progress.text(understood)
        shown: dict = {"text": (understood,)} if understood else {}
        return io.NodeOutput(Concept(name, word, pictures, tuple(texts), marked), "\n".join(texts), ui=shown)
