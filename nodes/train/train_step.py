from __future__ import annotations

from comfy_api.latest import io

from ...cns_core.comfy_adapter.autosave import autosaved
from ...cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from ...cns_core.comfy_adapter.checkpoint.latents import single_images
from ...cns_core.comfy_adapter.keeping import Keeping, parse_steps
from ...cns_core.comfy_adapter.lesson import Lesson
from ...cns_core.comfy_adapter.page.training_progress import Display
from ...cns_core.comfy_adapter.prior import Prior
from ...cns_core.comfy_adapter.teach import teach
from ...cns_core.concept import Concept
from ...cns_core.config import TrainConfig
from ...cns_core.figures import enlarged_figures, training_figures
from ..checks import checked, single_values, takes_lists
from ..common import (
    CATEGORY,
    WHERE,
    ConceptSocket,
    NeuronsSocket,
    Schema,
    StateSocket,
    checkpoint_name,
    node_id,
    show,
    workflow_id,
)
from ..plots import loss_plot
from .file_inputs import AUTOSAVE, file_inputs
from .inputs import SETTINGS, hyper_parameters
from .material_inputs import material_inputs


class TrainStep(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_TrainStep",
            display_name="Train CNS Step",
            category=CATEGORY,
            description="Teaches one concept: trains its neurons and its token, and adds it to the state. "
            "Chain one of these for each concept.",
            search_aliases=["train", "finetune", "dreambooth", "custom diffusion", "continual"],
            hidden=[*WHERE, io.Hidden.prompt],
            is_input_list=True,  # prior images of different sizes come as a list
            inputs=[
                io.Model.Input(
                    "model", tooltip="An SD 1.5 checkpoint straight from its loader, without LoRAs. It is not changed."
                ),
                io.Clip.Input("clip", tooltip="The same checkpoint's CLIP. It is not changed."),
                io.Vae.Input("vae", tooltip="The same checkpoint's VAE."),
                ConceptSocket.Input("concept", tooltip="From Caption Concept Images."),
                NeuronsSocket.Input("neurons", tooltip="From Select Concept Neurons."),
                *hyper_parameters(),
                StateSocket.Input(
                    "previous_state", optional=True, tooltip="The state with the concepts taught so far; none for the first."
                ),
                io.Image.Input(
                    "prior_images",
                    optional=True,
                    tooltip="From Make Prior Images: images of the class made by the checkpoint itself (20 or more), so that "
                    "it does not forget what an ordinary dog is. Batches, or a list.",
                ),
                io.String.Input(
                    "prior_prompts",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="The prompt the prior images were made with: one for all, or one for each, as lines or as a list. "
                    "Leave the token out. Images without a prompt: photo of a <noun>.",
                ),
                *file_inputs(),
                *material_inputs(),
            ],
            outputs=[
                StateSocket.Output(
                    display_name="state", tooltip="All concepts so far; wire it to Save, Apply or the next step."
                ),
                io.Image.Output(display_name="loss_plot", tooltip="Losses of each step."),
                io.String.Output(
                    display_name="summary",
                    tooltip="Steps, speed, losses, weights changed, enlarged images, the autosaved file.",
                ),
            ],
        )

    @classmethod
    @takes_lists
    @checked
    def execute(cls, **inputs: list) -> io.NodeOutput:
        images, prompts = inputs.pop("prior_images", None), inputs.pop("prior_prompts", None)  # as many as there are
        given = single_values(inputs)
        config = TrainConfig(**{name: given[name] for name in SETTINGS if name in given}).with_preset(given["preset"])
        concept: Concept = given["concept"]
        prior = Prior.of(single_images(images or []), prompts or [], concept.noun)
        lesson = Lesson(concept, given["neurons"], prior, given.get("previous_state"))
        checkpoint = Checkpoint(given["model"], given["clip"], given["vae"], checkpoint_name(cls.hidden))
        display = Display(node_id(cls.hidden), workflow_id(cls.hidden), given["preview_every"], given["preview_prompt"])
        keeping = Keeping(parse_steps(given.get("keep_steps", ""), config.steps), given.get("keep_cancelled", False))
        state, result = teach(checkpoint, lesson, config, display, keeping)
        saved = [autosaved(state)] if given.get("autosave", AUTOSAVE) else []  # first, as what follows could end the process
        saved += [f"- {line}" for line in keeping.lines]
        plot = loss_plot(result.history, f"Teaching {concept.name}")
        show(state, cls.hidden)
        enlarged = enlarged_figures({"concept": concept.images, "prior": prior.images}, config.resolution)
        return io.NodeOutput(state, plot, "\n".join(filter(None, [training_figures(state, result), enlarged, *saved])))
