"""Stage 4: the recognizer and the image-text model, on the world with the new concepts in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from demo.judges.image_text import ImageText, numbers
from demo.judges.pixels import as_input, as_pixels
from demo.judges.recognizer import ALL_STYLES, BACKGROUNDS, PRESENT, Recognizer
from demo.world.new_concepts import NEW_CONCEPTS
from demo.world.new_surroundings import NEW_PLACES

from .extended import extended_pictures
from .latents import encode
from .optimizer import MuonWithAdam
from .resumable import DEVICE, mixed_precision, one_cycle, optimize

HELD_OUT = 4_000
_THROUGH_VAE = 20_000  # of the scenes are seen as the demo model's VAE shows them
_RECOGNIZER_STEPS, _IMAGE_TEXT_STEPS, _PEAK_RATE, _BATCH = 10_000, 1_200, 2e-3, 64


@dataclass(frozen=True, eq=False)
class Pictures:
    """uint8 (n, 128, 128, 3) and a record of each. Some of those to learn from have been through the VAE; of the last
    ``HELD_OUT``, which nobody learns from, there are both.
    """

    data: np.ndarray
    held_out_decoded: np.ndarray
    records: list[dict]

    @staticmethod
    def of(folder: Path, vae: torch.nn.Module) -> Pictures:
        data, records = extended_pictures(folder)
        file = folder / "judge_decoded.npy"
        if not file.is_file():
            np.save(file, _decoded(vae, np.concatenate([data[:_THROUGH_VAE], data[-HELD_OUT:]])))
        decoded = np.load(file)
        return Pictures(np.concatenate([decoded[:_THROUGH_VAE], data[_THROUGH_VAE:]]), decoded[_THROUGH_VAE:], records)

    def held_out(self) -> dict[str, np.ndarray]:
        return {"": self.data[-HELD_OUT:], ", through the VAE": self.held_out_decoded}


def _decoded(vae: torch.nn.Module, data: np.ndarray) -> np.ndarray:
    """As the demo model's VAE shows them."""
    seen = []
    for start in range(0, len(data), 500):
        latents = encode(vae, data[start : start + 500])
        with torch.inference_mode(), mixed_precision():
            output = vae.decode(latents.to(DEVICE, memory_format=torch.channels_last)).float().cpu()
        seen.append(as_pixels(output))
        print(f"\rthrough the VAE {start + 500}/{len(data)}", end="", flush=True)
    print()
    return np.concatenate(seen)


@dataclass(frozen=True, eq=False)
class Targets:
    """What the recognizer is to say of each picture; ``known`` is 0 where a picture cannot tell."""

    present: Tensor
    known: Tensor
    background: Tensor
    style: Tensor

    @staticmethod
    def of(records: list[dict]) -> Targets:
        present = torch.zeros(len(records), len(PRESENT))
        for row, record in enumerate(records):
            present[row, record["present"]] = 1
        background = torch.tensor([record["background"] for record in records])
        pairs = torch.tensor([isinstance(what, tuple) for what in PRESENT])
        known = ~((background < 0).unsqueeze(1) & pairs)  # in one colour a thing is seen, but not the thing's colour
        return Targets(present, known.float(), background, torch.tensor([record["style"] for record in records]))


def train_recognizer(folder: Path, pictures: Pictures) -> tuple[Recognizer, dict[str, float]]:
    """The recognizer and its accuracies on held-out renders, as they are and through the VAE."""
    data, targets = pictures.data, Targets.of(pictures.records)
    torch.manual_seed(0)
    model = Recognizer().to(DEVICE).train()
    optimizer = MuonWithAdam(model)

    def step_loss(step: int) -> Tensor:
        chosen = _draw(step, len(data))
        x = _inputs(data[chosen])
        with mixed_precision():
            there, background, style = model(x.flip(3) if step % 2 else x)
        there, background, style = (logits.float().cpu() for logits in (there, background, style))
        present, known = targets.present[chosen], targets.known[chosen]
        return (
            functional.binary_cross_entropy_with_logits(there, present, known, reduction="sum") / _BATCH
            + functional.cross_entropy(background, targets.background[chosen])
            + functional.cross_entropy(style, targets.style[chosen])
        )

    file, rate_at = folder / "recognizer_training.safetensors", partial(one_cycle, steps=_RECOGNIZER_STEPS, peak=_PEAK_RATE)
    optimize("recognizer", file, model, optimizer, _RECOGNIZER_STEPS, rate_at, step_loss)
    model.cpu().eval().requires_grad_(False)
    accuracies = {}
    for how, shown in pictures.held_out().items():
        found = _accuracies(model, shown, pictures.records[-HELD_OUT:])
        accuracies |= {f"{name}{how}": value for name, value in found.items()}
    return model, accuracies


def _accuracies(model: Recognizer, data: np.ndarray, records: list[dict]) -> dict[str, float]:
    right, targets = [], Targets.of(records)
    for start in range(0, len(data), 200):
        seen, rows = model.recognize(data[start : start + 200]), slice(start, start + 200)
        things = (((seen.present > 0.5) == targets.present[rows].bool()) | (targets.known[rows] == 0)).all(1)
        background = (seen.background.argmax(1) == targets.background[rows]) | (targets.background[rows] < 0)
        style = (seen.style.argmax(1) == targets.style[rows]) | (targets.style[rows] < 0)
        right.append(torch.stack([things, background, style]))
    things, background, style = torch.cat(right, 1).float()
    whole, counts = things * background * style, torch.tensor([len(record["things"]) for record in records])
    nameless = torch.tensor([record["nameless"] for record in records])
    new = torch.tensor([_has_new(record) for record in records])
    ours = ~new & ~nameless
    return {
        "background": background.mean().item(),
        "style": style.mean().item(),
        "all things with their colours": things.mean().item(),
        "the demo model's world, one thing": whole[ours & (counts == 1)].mean().item(),
        "the demo model's world, two things": whole[ours & (counts == 2)].mean().item(),
        "with new concepts, one thing": whole[new & (counts == 1)].mean().item(),
        "with new concepts, two things": whole[new & (counts == 2)].mean().item(),
        "with something nameless": whole[nameless].mean().item(),
    }


def _has_new(record: dict) -> bool:
    named = {PRESENT[number] for number in record["things"]}
    styles = {ALL_STYLES[record["style"]]} if record["style"] >= 0 else set()
    return record["background"] >= BACKGROUNDS.index(next(iter(NEW_PLACES))) or bool((named | styles) & set(NEW_CONCEPTS))


def train_image_text(folder: Path, pictures: Pictures) -> tuple[ImageText, dict[str, float]]:
    """The image-text model and how often it finds a held-out picture's caption among a hundred."""
    data, words = pictures.data, torch.tensor([numbers(record["caption"]) for record in pictures.records])
    torch.manual_seed(0)
    model = ImageText().to(DEVICE).train()
    optimizer = MuonWithAdam(model)

    def step_loss(step: int) -> Tensor:
        chosen = _draw(step, len(data), 2 * _BATCH)
        with mixed_precision():
            pictured, said = model.images(_inputs(data[chosen])), model.texts(words[chosen].to(DEVICE))
        logits = model.log_scale.exp() * pictured.float() @ said.float().T
        target = torch.arange(len(chosen), device=DEVICE)
        return functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)

    file, rate_at = folder / "image_text_training.safetensors", partial(one_cycle, steps=_IMAGE_TEXT_STEPS, peak=_PEAK_RATE)
    optimize("image-text", file, model, optimizer, _IMAGE_TEXT_STEPS, rate_at, step_loss)
    model.cpu().eval().requires_grad_(False)
    said = [record["caption"] for record in pictures.records[-HELD_OUT:]]
    held_out = pictures.held_out().items()
    return model, {f"caption found among 100{how}": _share_found(model, shown, said) for how, shown in held_out}


def _share_found(model: ImageText, data: np.ndarray, captions: list[str]) -> float:
    found = []
    for start in range(0, len(data), 100):
        rows = slice(start, start + 100)
        similarity = model.of_pictures(data[rows]) @ model.of_sentences(captions[rows]).T
        found.append(similarity.argmax(1) == torch.arange(100))
    return torch.cat(found).float().mean().item()


def _inputs(pixels: np.ndarray) -> Tensor:
    return as_input(pixels).to(DEVICE, memory_format=torch.channels_last)


def _draw(step: int, count: int, batch: int = _BATCH) -> np.ndarray:
    """Rows of a training batch; the last HELD_OUT are never drawn."""
    return np.random.default_rng(step).integers(count - HELD_OUT, size=batch)
