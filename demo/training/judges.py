"""Stage 4: the recognizer and the image-text model, on the world with the new concepts in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from demo.judges.image_text import ImageText, numbers
from demo.judges.recognizer import PRESENT, Recognition, Recognizer
from demo.judges.trunk import as_input

from .extended import EXTENDED
from .latents import encode
from .pictures import made_once
from .trainer import DEVICE, mixed_precision, one_cycle, optimize

HELD_OUT = 4_000
_THROUGH_VAE = 20_000  # of the scenes are seen as the demo model's VAE shows them
_RECOGNIZER_RATES, _IMAGE_TEXT_RATES, _BATCH = one_cycle(10_000, 2e-3), one_cycle(1_200, 2e-3), 64


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
        data = EXTENDED.pixels(folder)
        seen = np.concatenate([data[:_THROUGH_VAE], data[-HELD_OUT:]])
        decoded = made_once(folder / "judge_decoded.npy", lambda: _decoded(vae, seen))
        learned = np.concatenate([decoded[:_THROUGH_VAE], data[_THROUGH_VAE:]])
        return Pictures(learned, decoded[_THROUGH_VAE:], EXTENDED.records(folder))

    def held_out(self) -> dict[str, np.ndarray]:
        return {"": self.data[-HELD_OUT:], ", through the VAE": self.held_out_decoded}

    def batch(self, step: int, size: int) -> tuple[np.ndarray, Tensor]:
        """Rows of a training batch, never of those held out, and their pictures as a network reads them."""
        rows = np.random.default_rng(step).integers(len(self.data) - HELD_OUT, size=size)
        return rows, as_input(self.data[rows]).to(DEVICE, memory_format=torch.channels_last)


@torch.inference_mode()
def _decoded(vae: torch.nn.Module, pixels: np.ndarray) -> np.ndarray:
    """As the demo model's VAE shows them."""
    seen = []
    for latents in tqdm(encode(vae, pixels).split(500), "decoding"):
        with mixed_precision():
            output = vae.decode(latents.to(DEVICE, memory_format=torch.channels_last))
        seen.append(((output.float().clamp(-1, 1) + 1) * 127.5).round().byte().movedim(1, -1).cpu().numpy())
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

    def right(self, seen: Recognition) -> Tensor:
        """Whether all things, the background and the style of each picture are seen: float32 (3, n)."""
        things = (((seen.present > 0.5) == self.present.bool()) | (self.known == 0)).all(1)
        background = (seen.background.argmax(1) == self.background) | (self.background < 0)
        style = (seen.style.argmax(1) == self.style) | (self.style < 0)
        return torch.stack([things, background, style]).float()


def train_recognizer(folder: Path, pictures: Pictures) -> tuple[Recognizer, dict[str, float]]:
    """The recognizer and its accuracies on held-out renders, as they are and through the VAE."""
    targets = Targets.of(pictures.records)
    torch.manual_seed(0)
    model = Recognizer().to(DEVICE)

    def loss_of(step: int) -> Tensor:
        rows, x = pictures.batch(step, _BATCH)
        with mixed_precision():
            logits = model(x.flip(3) if step % 2 else x)
        there, background, style = (values.float().cpu() for values in logits)
        present, known = targets.present[rows], targets.known[rows]
        return (
            functional.binary_cross_entropy_with_logits(there, present, known, reduction="sum") / _BATCH
            + functional.cross_entropy(background, targets.background[rows])
            + functional.cross_entropy(style, targets.style[rows])
        )

    optimize(folder / "recognizer_training.safetensors", model, _RECOGNIZER_RATES, loss_of)
    model.cpu().eval().requires_grad_(False)
    accuracies = {}
    for how, shown in pictures.held_out().items():
        found = _accuracies(model, shown, pictures.records[-HELD_OUT:])
        accuracies |= {f"{name}{how}": value for name, value in found.items()}
    return model, accuracies


def _accuracies(model: Recognizer, pixels: np.ndarray, records: list[dict]) -> dict[str, float]:
    parts = [
        Targets.of(records[start : start + 200]).right(model.recognize(pixels[start : start + 200]))
        for start in range(0, len(pixels), 200)
    ]
    things, background, style = torch.cat(parts, 1)
    whole = things * background * style
    counts, nameless, new = (torch.tensor([record[what] for record in records]) for what in ("count", "nameless", "new"))
    ours = ~new & ~nameless
    shares = {
        "background": background,
        "style": style,
        "all things with their colours": things,
        "the demo model's world, one thing": whole[ours & (counts == 1)],
        "the demo model's world, two things": whole[ours & (counts == 2)],
        "with new concepts, one thing": whole[new & (counts == 1)],
        "with new concepts, two things": whole[new & (counts == 2)],
        "with something nameless": whole[nameless],
    }
    return {name: right.mean().item() for name, right in shares.items()}


def train_image_text(folder: Path, pictures: Pictures) -> tuple[ImageText, dict[str, float]]:
    """The image-text model and how often it finds a held-out picture's caption among a hundred."""
    captions = [record["caption"] for record in pictures.records]
    words = torch.tensor([numbers(caption) for caption in captions])
    torch.manual_seed(0)
    model = ImageText().to(DEVICE)

    def loss_of(step: int) -> Tensor:
        rows, x = pictures.batch(step, 2 * _BATCH)
        with mixed_precision():
            pictured, said = model.images(x), model.texts(words[rows].to(DEVICE))
        logits = model.log_scale.exp() * pictured.float() @ said.float().T
        target = torch.arange(len(rows), device=DEVICE)
        return functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)

    optimize(folder / "image_text_training.safetensors", model, _IMAGE_TEXT_RATES, loss_of)
    model.cpu().eval().requires_grad_(False)
    held_out = pictures.held_out().items()
    return model, {f"caption found among 100{how}": _found(model, shown, captions[-HELD_OUT:]) for how, shown in held_out}


def _found(model: ImageText, pixels: np.ndarray, captions: list[str]) -> float:
    """Share of the pictures whose caption is the nearest of a hundred."""
    hundreds = [slice(start, start + 100) for start in range(0, len(pixels), 100)]
    similarities = [model.of_pictures(pixels[rows]) @ model.of_sentences(captions[rows]).T for rows in hundreds]
    return (torch.stack(similarities).argmax(2) == torch.arange(100)).float().mean().item()
