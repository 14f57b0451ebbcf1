"""Stage 2: scenes as latents and token ids."""

from __future__ import annotations

import random
import re
from pathlib import Path

import comfy.sd
import numpy as np
import torch
from comfy.latent_formats import SD15
from torch import Tensor
from tqdm import tqdm

from demo.judges.trunk import as_input
from demo.world.drawing import render
from demo.world.palette import COLORS, PATTERNS
from demo.world.styles import STYLES
from demo.world.things import KINDS, THINGS

from .nameless import LOOKS, render_look, render_nameless
from .pictures import PictureSet, made_once
from .trainer import DEVICE, mixed_precision

SETS = (
    PictureSet("scenes", 36_000, 0, render),
    PictureSet("nameless", 18_000, 40_000_000, render_nameless),
    PictureSet("looks", 18_000, 50_000_000, render_look),
)
_BATCH = 16  # no more pictures at a time than the caches hold


def latents_of(pictures: PictureSet, folder: Path, vae: torch.nn.Module) -> Tensor:
    """As the UNet sees them: float16 (n, 4, 16, 16). Made once."""
    file = folder / f"{pictures.name}_latents.npy"
    return torch.from_numpy(made_once(file, lambda: SD15().process_in(encode(vae, pictures.pixels(folder))).half().numpy()))


def tokens_of(pictures: PictureSet, folder: Path, clip: comfy.sd.CLIP) -> Tensor:
    """The captions' token ids, int32 (n, 77). Made once."""

    def made() -> np.ndarray:
        looks = look_ids(clip)
        return np.array([caption_ids(clip, caption, looks) for caption in pictures.records(folder)], dtype=np.int32)

    return torch.from_numpy(made_once(folder / f"{pictures.name}_tokens.npy", made))


@torch.inference_mode()
def encode(vae: torch.nn.Module, pixels: np.ndarray) -> Tensor:
    """Raw latents (n, 4, h / 8, w / 8), on the CPU, of uint8 pictures (n, h, w, 3)."""
    parts = []
    for start in tqdm(range(0, len(pixels), _BATCH), "encoding"):
        x = as_input(pixels[start : start + _BATCH]).to(DEVICE, memory_format=torch.channels_last)
        with mixed_precision():
            parts.append(vae.encode(x).float().cpu())
    return torch.cat(parts)


def token_ids(clip: comfy.sd.CLIP, text: str) -> list[int]:
    """The 77 ids ComfyUI makes of a prompt."""
    return [int(token) for token, _ in clip.tokenize(text)["l"][0]]


def look_ids(clip: comfy.sd.CLIP) -> list[int]:
    """A token for each look: beginnings of words, which say nothing by themselves."""
    vocabulary = clip.tokenizer.clip_l.tokenizer.get_vocab()
    taken = {number for text in (*THINGS, *KINDS, *COLORS, *PATTERNS, *STYLES) for number in token_ids(clip, text)}
    beginnings = {number for text, number in vocabulary.items() if len(text) > 3 and text.isascii() and text.isalpha()}
    return random.Random(0).sample(sorted(beginnings - taken), LOOKS)


def caption_ids(clip: comfy.sd.CLIP, caption: str, looks: list[int]) -> list[int]:
    """The ids of a caption in which ``look12`` is the token of look 12."""
    numbers = iter(re.findall(r"look(\d+)", caption))
    placeholder = token_ids(clip, "look")[1]
    ids = token_ids(clip, re.sub(r"look\d+", "look", caption))
    return [looks[int(next(numbers))] if token == placeholder else token for token in ids]
