"""Stage 1 of the demo model: a small VAE with SD-1.5's latent shape (4 channels, 1/8 of the pixels)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from demo_model import new_vae
from random_checkpoint import fill
from torch import Tensor
from torch.nn import functional

from .pictures import pictures
from .progress import optimize

STEPS, BATCH, LEARNING_RATE, SCENES, FIRST_SEED = 8000, 8, 1e-3, 40_000, 10_000_000
_KL_WEIGHT = 1e-5
_LATENT_NOISE = 0.03  # of their spread: the decoder learns to bear what a sampler leaves


def _edges(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., :, 1:] - x[..., :, :-1]


def loss_of(vae: torch.nn.Module, x: Tensor) -> Tensor:
    """Absolute, squared and edge error and a little KL; x (b, 3, h, w) in -1..1."""
    mean, log_variance = vae.quant_conv(vae.encoder(x)).chunk(2, dim=1)
    log_variance = log_variance.clamp(-30, 20)
    noise = torch.exp(0.5 * log_variance) * torch.randn_like(mean) + _LATENT_NOISE * mean.std() * torch.randn_like(mean)
    output = vae.decoder(vae.post_quant_conv(mean + noise))
    error = functional.l1_loss(output, x) + 0.5 * functional.mse_loss(output, x)
    edge = sum(functional.l1_loss(a, b) for a, b in zip(_edges(output), _edges(x), strict=True))
    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
    return error + edge + _KL_WEIGHT * kl


def as_input(pixels: np.ndarray) -> Tensor:
    """uint8 (b, h, w, 3) -> float32 (b, 3, h, w) in -1..1."""
    return torch.from_numpy(pixels.astype(np.float32)).movedim(-1, 1) / 127.5 - 1


def train(folder: Path) -> torch.nn.Module:
    """The trained VAE; working files lie in ``folder``."""
    data = pictures(folder / "vae_pictures.npy", SCENES, FIRST_SEED)
    vae = new_vae()
    fill(vae, 0)
    vae.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(vae.parameters(), betas=(0.9, 0.98), weight_decay=0.0)

    def step_loss(step: int) -> Tensor:
        torch.manual_seed(step)
        chosen = np.random.default_rng(step).integers(len(data), size=BATCH)
        return loss_of(vae, as_input(data[np.sort(chosen)]))

    optimize("vae", folder / "vae_training.safetensors", vae, optimizer, STEPS, LEARNING_RATE, step_loss)
    return vae.eval().requires_grad_(False)
