from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from cns_pack.cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from cns_pack.cns_core.comfy_adapter.lesson import Lesson
from cns_pack.cns_core.comfy_adapter.neurons import Neurons, compute_neurons, select_neurons
from cns_pack.cns_core.comfy_adapter.page.training_progress import Display
from cns_pack.cns_core.comfy_adapter.prior import Prior
from cns_pack.cns_core.comfy_adapter.teach import teach
from cns_pack.cns_core.concept import Concept
from cns_pack.cns_core.config import TrainConfig
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE

from tests.support.tiny_models import AveragingVAE, tiny_clip, tiny_model

CALIBRATION = ["a house by a lake", "two red cars in the rain", "an oil painting of a cat", "an empty street at night"]


@dataclass
class Studio:
    """A tiny checkpoint and what the nodes do with it; everything runs under inference mode, as in ComfyUI."""

    model: ModelPatcher
    clip: CLIP
    vae: VAE = field(default_factory=AveragingVAE)

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.model, self.clip, self.vae)

    def neurons(self, concept: Concept, strategy: str = "concept") -> Neurons:
        with torch.inference_mode():
            base = compute_neurons(self.checkpoint, list(concept.descriptions), 0.3, "base", None)
            general = compute_neurons(self.checkpoint, CALIBRATION, 0.3, "general", None)
            return select_neurons(base, general, strategy, 0)

    def teach(self, concept, previous=None, neurons=None, prior=True, checkpoint=None, display=None, keeping=None, **config):
        neurons = neurons or self.neurons(concept)
        generator = torch.Generator().manual_seed(5)
        priors = [torch.rand(64, 64, 3, generator=generator) for _ in range(2 if prior else 0)]
        lesson = Lesson(concept, neurons, Prior.of(priors, [], concept.noun), previous)
        settings = TrainConfig(**{"steps": 6, "resolution": 64, "neuron_lr": 1e-3, **config})
        with torch.inference_mode():
            return teach(checkpoint or self.checkpoint, lesson, settings, display or Display(), keeping)

    def weights(self) -> dict[str, torch.Tensor]:
        """Copies of every weight of UNet and text encoder."""
        parts = {"unet": self.model.model, "clip": self.clip.cond_stage_model}
        return {
            f"{part}.{name}": value.clone() for part, module in parts.items() for name, value in module.state_dict().items()
        }


def concept_of(token: str, noun: str, seed: int) -> Concept:
    generator = torch.Generator().manual_seed(seed)
    sizes = [(70, 90), (64, 64), (128, 80)]
    images = tuple(torch.rand(*size, 3, generator=generator) for size in sizes)
    return Concept(token, noun, images, (f"a {noun} on grass", f"a small {noun} in snow", "a thing on a table"))


@pytest.fixture(scope="session")
def studio() -> Studio:
    return Studio(tiny_model(), tiny_clip())


@pytest.fixture(scope="session")
def half_studio() -> Studio:
    """In float16, as graphics cards keep it: gradients are then scaled."""
    return Studio(tiny_model(dtype=torch.float16), tiny_clip())


@pytest.fixture(scope="session")
def dog() -> Concept:
    return concept_of("<new1>", "dog", 1)


@pytest.fixture(scope="session")
def hat() -> Concept:
    return concept_of("<new2>", "hat", 2)


@pytest.fixture(scope="session")
def dog_state(studio, dog):
    return studio.teach(dog)[0]


@pytest.fixture(scope="session")
def two_state(studio, dog_state, hat):
    return studio.teach(hat, previous=dog_state)[0]
