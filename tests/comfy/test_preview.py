"""Previews on the demo model: each shows what has been learned by then, the last what Apply CNS State draws afterwards."""

from __future__ import annotations

import base64
import io

import comfy.sample
import numpy as np
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.apply.apply import apply_state
from cns_pack.cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from cns_pack.cns_core.comfy_adapter.lesson import Lesson
from cns_pack.cns_core.comfy_adapter.neurons import compute_neurons, select_neurons
from cns_pack.cns_core.comfy_adapter.page import live
from cns_pack.cns_core.comfy_adapter.page.training_progress import Display
from cns_pack.cns_core.comfy_adapter.prior import Prior
from cns_pack.cns_core.comfy_adapter.teach import teach
from cns_pack.cns_core.concept import Concept
from cns_pack.cns_core.config import TrainConfig
from PIL import Image

from demo.model import load_demo_model
from demo.world.new_concepts import teaching_pictures

PROMPT = "a <new1> dog on a beach"
SAMPLING = (20, 6.0, "dpmpp_2m", "karras")  # a preview's steps, guidance, sampler and scheduler


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    with torch.inference_mode():
        return Checkpoint(*load_demo_model())


@torch.inference_mode()
def drawn(checkpoint: Checkpoint, state, prompt: str) -> np.ndarray:
    model, clip = apply_state(checkpoint, state, 1.0)
    positive, negative = ([[clip.encode_from_tokens(clip.tokenize(text)), {}]] for text in (prompt, ""))
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    latents = comfy.sample.sample(model, noise, *SAMPLING, positive, negative, torch.zeros_like(noise), disable_pbar=True)
    return (checkpoint.vae.decode(latents)[0] * 255).numpy()


def picture_of(sample: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(sample["picture"].partition(",")[2]))).convert("RGB"))


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of a colour value, of 255."""
    return float(np.abs(one.astype(float) - other).mean())


def test_previews_differ_and_the_last_is_what_apply_draws(checkpoint):
    pictures, captions = teaching_pictures("fox", 2, 0)
    images = tuple(torch.from_numpy(picture).float() / 255 for picture in pictures)
    concept = Concept("<new1>", "dog", images, tuple(captions))
    settings = {"neuron_lr": 0.02, "token_lr": 0.03, "prompt_mode": "caption", "keep_tolerance": 0.0}
    with torch.inference_mode():
        base = compute_neurons(checkpoint, captions, 0.3, "base", None)
        neurons = select_neurons(base, compute_neurons(checkpoint, ["a red star"], 0.3, "general", None), "all K/V", 0)
        state, _ = teach(
            checkpoint,
            Lesson(concept, neurons, Prior(), None),
            TrainConfig(steps=6, resolution=128, **settings),
            Display(preview_every=3, preview_prompt=PROMPT),
        )
    training = [shown for shown in live.shown() if shown["kind"] == "training"][-1]
    first, last = (picture_of(sample) for sample in training["samples"])
    assert first.shape == last.shape == (128, 128, 3)
    assert distance(first, last) > 10
    assert distance(last, drawn(checkpoint, state, PROMPT)) < 3  # a JPEG
