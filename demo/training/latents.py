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

from demo.judges.pixels import as_input
from demo.world.looks import LOOKS, render_look
from demo.world.nameless import render_nameless
from demo.world.palette import COLORS, PATTERNS
from demo.world.styles import STYLES
from demo.world.things import KINDS, THINGS

from .pictures import Render, captioned, pictures, records_of
from .resumable import DEVICE, mixed_precision

SCENES, NAMELESS, WITH_LOOKS = 36_000, 18_000, 18_000
_WORLD = ("scenes.npy", SCENES, 0, captioned)
_NAMELESS = ("nameless.npy", NAMELESS, 40_000_000, render_nameless)
_LOOKS = ("looks.npy", WITH_LOOKS, 50_000_000, render_look)
_BATCH, _CHUNK = 16, 2000  # no more pictures at a time than the caches hold


@torch.inference_mode()
def encode(vae: torch.nn.Module, pixels: np.ndarray) -> Tensor:
    """Raw latents (n, 4, h / 8, w / 8), on the CPU, of uint8 pictures (n, h, w, 3)."""
    parts = []
    for start in range(0, len(pixels), _BATCH):
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
    free = sorted(beginnings - taken)
    return random.Random(0).sample(free, LOOKS)


def caption_ids(clip: comfy.sd.CLIP, caption: str, looks: list[int]) -> list[int]:
    """The ids of a caption in which ``look12`` is the token of look 12."""
    numbers = [int(number) for number in re.findall(r"look(\d+)", caption)]
    (placeholder,) = token_ids(clip, "look")[1:2]
    ids = token_ids(clip, re.sub(r"look\d+", "look", caption))
    places = [place for place, token in enumerate(ids) if token == placeholder]
    for place, number in zip(places, numbers, strict=True):
        ids[place] = looks[number]
    return ids


def world(folder: Path, vae: torch.nn.Module, clip: comfy.sd.CLIP) -> tuple[Tensor, Tensor]:
    """Latents as the UNet sees them, float16 (n, 4, 16, 16), and token ids int32 (n, 77), of scenes where all has a name."""
    return _dataset(*_WORLD, folder, vae, clip)


def nameless(folder: Path, vae: torch.nn.Module, clip: comfy.sd.CLIP) -> tuple[Tensor, Tensor]:
    """The same of scenes with something nameless in them."""
    return _dataset(*_NAMELESS, folder, vae, clip)


def looks(folder: Path, vae: torch.nn.Module, clip: comfy.sd.CLIP) -> tuple[Tensor, Tensor]:
    """The same of scenes with looks in them."""
    return _dataset(*_LOOKS, folder, vae, clip)


def generator_pictures(folder: Path) -> list[np.ndarray]:
    """The pictures of the three."""
    return [pictures(folder / name, *drawn) for name, *drawn in (_WORLD, _NAMELESS, _LOOKS)]


def _dataset(
    name: str, count: int, first_seed: int, render: Render, folder: Path, vae: torch.nn.Module, clip: comfy.sd.CLIP
) -> tuple[Tensor, Tensor]:
    """Made once, in files beside the pictures'."""
    path = folder / name
    latent_file, token_file = (path.with_name(f"{path.stem}_{what}.npy") for what in ("latents", "tokens"))
    if not (latent_file.is_file() and token_file.is_file()):
        data = pictures(path, count, first_seed, render)
        format_ = SD15()
        parts = []
        for start in range(0, count, _CHUNK):
            parts.append(format_.process_in(encode(vae, data[start : start + _CHUNK])).half().numpy())
            print(f"\rencoding {path.stem} {min(start + _CHUNK, count)}/{count}", end="", flush=True)
        print()
        ids = look_ids(clip)
        tokens = np.array([caption_ids(clip, text, ids) for text in records_of(path)], dtype=np.int32)
        np.save(token_file, tokens)
        np.save(latent_file, np.concatenate(parts))
    return torch.from_numpy(np.load(latent_file)), torch.from_numpy(np.load(token_file))
