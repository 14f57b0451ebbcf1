from __future__ import annotations

from comfy_api.latest import io

from ...cns_core.comfy_adapter.apply.apply import apply_state
from ...cns_core.comfy_adapter.captioner.captioner import NONE, caption_images, captioner_names
from ...cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from ...cns_core.comfy_adapter.neurons import Neurons
from ...cns_core.comfy_adapter.page.progress import Progress
from ...cns_core.comfy_adapter.page.training_progress import Display
from ...cns_core.comfy_adapter.pictures.folders import collections, find_pictures, fingerprint, subfolders
from ...cns_core.comfy_adapter.taught_folders import known_state
from ...cns_core.comfy_adapter.teach_folder import Captioner, Course, sources_of, teach_folder
from ...cns_core.config import PriorConfig, TrainConfig
from ...cns_core.selection import STRATEGIES
from ...cns_core.state import CNSState
from ..checks import checked
from ..common import (
    CATEGORY,
    WHERE,
    NeuronsSocket,
    Schema,
    StateSocket,
    advanced,
    checkpoint_name,
    node_id,
    show,
    workflow_id,
)
from .inputs import SETTINGS, hyper_parameters
from .material_inputs import material_inputs

_SHOWN = {"steps", "resolution", "preset", "seed"}
_OF_ONE_CONCEPT = {"initial_word", "preview_prompt"}


def _settings() -> list:
    widgets = [widget for widget in [*hyper_parameters(), *material_inputs()] if widget.id not in _OF_ONE_CONCEPT]
    return [widget if widget.id in _SHOWN else advanced(widget) for widget in widgets]


class TeachFolder(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_TeachFolder",
            display_name="Teach Folder",
            category=CATEGORY,
            description="Teaches every folder of pictures in a folder, one concept after another, and saves after each. Add a "
            "folder and run it again: it teaches only that one.",
            search_aliases=["train", "dreambooth", "lora", "easy", "batch", "continual"],
            hidden=[*WHERE, io.Hidden.prompt],
            is_output_node=True,
            inputs=[
                io.Model.Input(
                    "model", tooltip="An SD 1.5 checkpoint straight from its loader, without LoRAs. It is not changed."
                ),
                io.Clip.Input("clip", tooltip="The same checkpoint's CLIP. It is not changed."),
                io.Vae.Input("vae", tooltip="The same checkpoint's VAE."),
                io.Combo.Input(
                    "folder",
                    options=collections(),
                    tooltip="A folder inside ComfyUI's input. Each folder in it holds pictures of one thing and is named "
                    "after its noun: dog, hat. Where there are several of a kind: dog - Rex, dog - Luna.",
                ),
                io.Int.Input(
                    "prior_images",
                    default=PriorConfig.count,
                    min=0,
                    max=1000,
                    tooltip="How many ordinary images of each class to draw first, so that an ordinary dog stays ordinary. "
                    "They are kept on disk. 0 draws none.",
                ),
                io.Combo.Input(
                    "captioner",
                    options=captioner_names(),
                    default=NONE,
                    tooltip="Describes pictures without a text file beside them. none: their captions are sentences that "
                    "fit any picture.",
                ),
                advanced(
                    io.Boolean.Input(
                        "download_captioner",
                        default=False,
                        tooltip="Fetch the captioner from Hugging Face into models/captioners if it is not there.",
                    )
                ),
                *_settings(),
                advanced(
                    io.Combo.Input(
                        "strategy",
                        options=list(STRATEGIES),
                        default=next(iter(STRATEGIES)),
                        optional=True,
                        tooltip="As in Select Concept Neurons.",
                    )
                ),
                advanced(
                    io.Boolean.Input(
                        "start_over",
                        default=False,
                        optional=True,
                        tooltip="Teaches all folders again instead of adding to what was saved. Earlier files stay.",
                    )
                ),
                StateSocket.Input(
                    "previous_state", optional=True, tooltip="A state to add to, instead of the newest one of this folder."
                ),
                NeuronsSocket.Input(
                    "general_neurons", optional=True, tooltip="From Compute General Neurons, to use other calibration prompts."
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="Knows all concepts: for the sampler."),
                io.Clip.Output(display_name="clip", tooltip="Knows all tokens: for CLIP Text Encode."),
                StateSocket.Output(display_name="state", tooltip="All concepts so far, for other CNS nodes."),
                io.String.Output(display_name="summary", tooltip="What was read, taught and saved."),
            ],
        )

    @classmethod
    @checked
    def execute(
        cls, model, clip, vae, folder: str, prior_images: int, captioner: str, download_captioner: bool, **given
    ) -> io.NodeOutput:
        settings = {name: given[name] for name in SETTINGS if name in given}
        config = TrainConfig(**settings).with_preset(given["preset"])
        priors = PriorConfig(prior_images, config.resolution) if prior_images else None
        describe = None if captioner == NONE else _captioner(captioner, download_captioner, node_id(cls.hidden))
        general: Neurons | None = given.get("general_neurons")
        course = Course(folder, config, priors, given.get("strategy", next(iter(STRATEGIES))), general, describe)
        checkpoint = Checkpoint(model, clip, vae, checkpoint_name(cls.hidden))
        previous: CNSState | None = given.get("previous_state")
        origin = ""
        if previous is None and not given.get("start_over", False):
            previous, origin = known_state(sources_of(folder).values(), checkpoint)
        display = Display(node_id(cls.hidden), workflow_id(cls.hidden), given["preview_every"])
        state, done = teach_folder(checkpoint, course, previous, display, lambda taught: show(taught, cls.hidden))
        summary = origin + done
        return io.NodeOutput(*apply_state(checkpoint, state, 1.0), state, summary, ui={"text": (summary,)})

    @classmethod
    def fingerprint_inputs(cls, folder: str, **_) -> tuple:  # pyright: ignore[reportIncompatibleMethodOverride] - called by name
        return tuple((name, fingerprint(find_pictures(f"{folder}/{name}"))) for name in subfolders(folder))


def _captioner(name: str, may_download: bool, node: str | None) -> Captioner:
    return lambda images: caption_images(
        images, name, may_download, Progress(len(images), node).advance, Progress(1, node).text
    )
