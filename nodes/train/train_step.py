from __future__ import annotations

import torch
from comfy_api.latest import io

from ...cns_core.comfy_adapter.autosave import save_after_training
from ...cns_core.comfy_adapter.checkpoint.latents import single_images
from ...cns_core.comfy_adapter.neurons import Neurons
from ...cns_core.comfy_adapter.page.training_progress import Display
from ...cns_core.comfy_adapter.prior import Prior
from ...cns_core.comfy_adapter.side_effects import SideEffect
from ...cns_core.comfy_adapter.teach import teach
from ...cns_core.concept import Concept
from ...cns_core.config import TrainConfig
from ...cns_core.figures import training_figures
from ...cns_core.state import CNSState
from ..common import (
    CATEGORY,
    WHERE,
    ConceptSocket,
    NeuronsSocket,
    Schema,
    StateSocket,
    checked,
    checkpoint_name,
    node_id,
    one_of_each,
    show,
    takes_lists,
    workflow_id,
)
from ..plots import loss_plot
from .inputs import AUTOSAVE, autosave_input, hyper_parameters


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
                    "previous_state", optional=True, tooltip="The state of the concepts taught before; none for the first."
                ),
                io.Image.Input(
                    "prior_images",
                    optional=True,
                    tooltip="Images of the class made by the checkpoint itself (about 20 or more), so that it does not forget "
                    "what an ordinary dog is: batches, or a list.",
                ),
                io.String.Input(
                    "prior_prompts",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="The prompt the prior images were made with: one for all, or one for each, as lines or as a list. "
                    "Without the token. Images without one: photo of a <noun>.",
                ),
                autosave_input(),
            ],
            outputs=[
                StateSocket.Output(
                    display_name="state", tooltip="All concepts so far; wire it to Save, Apply or the next step."
                ),
                io.Image.Output(display_name="loss_plot", tooltip="Losses of each step."),
                io.String.Output(display_name="summary", tooltip="Steps, speed, losses, weights changed, the autosaved file."),
            ],
        )

    @classmethod
    @takes_lists
    @checked
    def execute(
        cls, prior_images: list[torch.Tensor] | None = None, prior_prompts: list[str] | None = None, **inputs: list
    ) -> io.NodeOutput:
        return cls._teach(single_images(prior_images or []), prior_prompts or [], **one_of_each(inputs))

    @classmethod
    def _teach(
        cls,
        prior_images: tuple[torch.Tensor, ...],
        prior_prompts: list[str],
        model,
        clip,
        vae,
        concept: Concept,
        neurons: Neurons,
        preset: str,
        preview_every: int,
        preview_prompt: str,
        initial_word: str,
        vectors: int,
        previous_state: CNSState | None = None,
        autosave: bool = AUTOSAVE,
        **hyper_parameters: object,
    ) -> io.NodeOutput:
        config = TrainConfig(**hyper_parameters).with_preset(preset)
        prior = Prior.of(prior_images, prior_prompts, concept.noun)
        display = Display(node_id(cls.hidden), workflow_id(cls.hidden), preview_every, preview_prompt)
        inputs = model, clip, vae, concept, neurons, previous_state, prior, initial_word, vectors, config, display
        state, result = teach(*inputs, checkpoint_name(cls.hidden))
        saved = [_autosave(state)] if autosave else []  # first, as what follows could end the whole process
        plot = loss_plot(result.history, f"Teaching {concept.name}")
        show(state, cls.hidden)
        return io.NodeOutput(state, plot, "\n".join([training_figures(state, result), *saved]))


def _autosave(state: CNSState) -> str:
    """A line for the summary: where the state was saved, or why it was not."""
    with SideEffect("The state was not autosaved") as saving:
        return f"- autosaved as `{save_after_training(state)}`"
    return f"- {saving.failure}"
