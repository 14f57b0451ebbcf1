from __future__ import annotations

import comfy.samplers
import torch
from comfy_api.latest import io

from ...cns_core.calibration import split_prompts
from ...cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from ...cns_core.comfy_adapter.page.progress import Progress
from ...cns_core.comfy_adapter.priors.priors import make_priors
from ...cns_core.concept import check_noun
from ...cns_core.config import PriorConfig
from ...cns_core.contexts import CLASS_CONTEXTS
from ..checks import checked
from ..common import CATEGORY, Schema, advanced, node_id, seed_input

_DEFAULT = PriorConfig()


class MakePriorImages(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_MakePriorImages",
            display_name="Make Prior Images",
            category=CATEGORY,
            description="Draws ordinary images of a class with the checkpoint itself, in different surroundings, so that "
            "training does not turn every dog into yours. They are kept on disk for the next training.",
            search_aliases=["class images", "regularization images", "prior preservation", "dreambooth"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Model.Input("model", tooltip="An SD 1.5 checkpoint straight from its loader, without LoRAs."),
                io.Clip.Input("clip", tooltip="The same checkpoint's CLIP."),
                io.Vae.Input("vae", tooltip="The same checkpoint's VAE."),
                io.String.Input("noun", default="dog", tooltip="The class noun of Caption Concept Images."),
                io.Int.Input(
                    "count",
                    default=_DEFAULT.count,
                    min=1,
                    max=1000,
                    tooltip="How many images. Fewer than 20 are memorized; DreamBooth makes 200.",
                ),
                seed_input(_DEFAULT.seed, "Another seed draws other images."),
                io.Int.Input(
                    "resolution",
                    default=_DEFAULT.resolution,
                    min=64,
                    max=2048,
                    step=64,
                    tooltip="Pixels of each side. Use the resolution of Train CNS Step.",
                ),
                advanced(io.Int.Input("steps", default=_DEFAULT.steps, min=1, max=1000, tooltip="Sampling steps.")),
                advanced(io.Float.Input("cfg", default=_DEFAULT.cfg, min=0.0, max=100.0, step=0.1, tooltip="Guidance scale.")),
                advanced(
                    io.Combo.Input(
                        "sampler_name",
                        options=comfy.samplers.KSampler.SAMPLERS,
                        default=_DEFAULT.sampler,
                        tooltip="As in KSampler.",
                    )
                ),
                advanced(
                    io.Combo.Input(
                        "scheduler",
                        options=comfy.samplers.KSampler.SCHEDULERS,
                        default=_DEFAULT.scheduler,
                        tooltip="As in KSampler.",
                    )
                ),
                advanced(
                    io.String.Input(
                        "prompts",
                        default="\n".join(CLASS_CONTEXTS),
                        multiline=True,
                        tooltip="One prompt per line, taken in turn; the word noun in braces becomes the noun. Leave the "
                        "token out.",
                    )
                ),
                advanced(io.String.Input("negative", default=_DEFAULT.negative, tooltip="Negative prompt of all images.")),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="Wire it to prior_images of Train CNS Step."),
                io.String.Output(
                    display_name="prompts", tooltip="One line for each image: wire it to prior_prompts of Train CNS Step."
                ),
            ],
        )

    @classmethod
    @checked
    def execute(
        cls, model, clip, vae, noun, count, seed, resolution, steps, cfg, sampler_name, scheduler, prompts, negative
    ) -> io.NodeOutput:
        config = PriorConfig(count, resolution, steps, cfg, sampler_name, scheduler, negative, seed)
        checkpoint, contexts = Checkpoint(model, clip, vae), split_prompts(prompts)
        prior, line = make_priors(checkpoint, check_noun(noun), contexts, config, node_id(cls.hidden))
        Progress(1, node_id(cls.hidden)).text(line)
        return io.NodeOutput(torch.stack(prior.images), "\n".join(prior.prompts), ui={"text": (line,)})
