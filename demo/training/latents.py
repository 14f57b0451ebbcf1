"""Stage 2: scenes as latents and token ids, and a VAE whose latents have the spread SD-1.5's sampler expects."""

from __future__ import annotations

from pathlib import Path

import comfy.sd
import numpy as np
import torch
from comfy.latent_formats import SD15
from torch import Tensor

from .pictures import captions_of, pictures
from .vae import as_input

SCENES, FIRST_SEED = 120_000, 0
NORMALIZATION_SAMPLE, _BATCH = 2000, 200


@torch.inference_mode()
def encode(vae: torch.nn.Module, pixels: np.ndarray) -> Tensor:
    """Posterior means (n, 4, h / 8, w / 8) of uint8 pictures (n, h, w, 3)."""
    batches = [as_input(pixels[i : i + _BATCH]) for i in range(0, len(pixels), _BATCH)]
    return torch.cat([vae.quant_conv(vae.encoder(x))[:, :4] for x in batches])


@torch.no_grad()
def normalize(vae: torch.nn.Module, sample: np.ndarray) -> None:
    """Folds a shift and scale into the VAE's 1 × 1 convolutions: each latent channel then has mean 0 and the spread that
    becomes 1 after SD-1.5's scale factor. What the VAE reconstructs stays the same.
    """
    latents = encode(vae, sample).clone()
    mean = latents.mean(dim=(0, 2, 3))
    scale = 1 / (SD15().scale_factor * latents.std(dim=(0, 2, 3)))
    into, out = vae.quant_conv, vae.post_quant_conv
    out.bias += out.weight[:, :, 0, 0] @ mean
    out.weight /= scale.view(1, 4, 1, 1)
    into.weight[:4] *= scale.view(4, 1, 1, 1)
    into.bias[:4] = (into.bias[:4] - mean) * scale
    into.bias[4:] += 2 * scale.log()


def token_ids(clip: comfy.sd.CLIP, text: str) -> list[int]:
    """The 77 ids ComfyUI makes of a prompt."""
    return [int(token) for token, _ in clip.tokenize(text)["l"][0]]


def dataset(folder: Path, vae: torch.nn.Module, clip: comfy.sd.CLIP) -> tuple[Tensor, Tensor]:
    """Latents as the UNet sees them, float16 (n, 4, 8, 8), and token ids int32 (n, 77); made once."""
    latent_file, token_file = folder / "latents.npy", folder / "tokens.npy"
    if not (latent_file.is_file() and token_file.is_file()):
        path = folder / "scenes.npy"
        data = pictures(path, SCENES, FIRST_SEED)
        format_ = SD15()
        parts = []
        for start in range(0, SCENES, 10_000):
            parts.append(format_.process_in(encode(vae, data[start : start + 10_000])).half().numpy())
            print(f"latents {start + 10_000}/{SCENES}", flush=True)
        tokens = np.array([token_ids(clip, text) for text in captions_of(path)], dtype=np.int32)
        np.save(token_file, tokens)
        np.save(latent_file, np.concatenate(parts))
    return torch.from_numpy(np.load(latent_file)), torch.from_numpy(np.load(token_file))
