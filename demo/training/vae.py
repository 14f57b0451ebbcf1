"""Stage 1: a small autoencoder with SD-1.5's latent shape (4 channels, 1/8 of the pixels), ComfyUI's TAESD class.

SD-1.5's autoencoder draws whatever its UNet has never seen. This one, trained on scenes where all has a name, makes anything
else a grey blob. So its decoder alone goes on, with nameless things and with the new concepts among the others. The latents,
and all that the UNet and the text encoder ever learn, come from scenes without the new concepts.

It has no normalization layers. That matters here: the group norms of SD's own VAE, at the few channels a small model has,
normalize each channel by itself and so take a flat background's colour away.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from comfy.taesd.taesd import Block
from pixels import as_input
from torch import Tensor, nn
from torch.nn import functional

from cns_core.comfy_adapter.demo_model import new_vae

from .extended import extended_pictures
from .latents import nameless_pictures
from .optimizer import MuonWithAdam
from .pictures import pictures
from .progress import DEVICE, mixed_precision, optimize

CYCLES, BATCH, SCENES, FIRST_SEED = ((9_000, 1e-3), (7_000, 6e-4)), 4, 40_000, 10_000_000
DECODER_CYCLES, DECODER_BATCH = ((6_000, 6e-4), (5_000, 6e-4)), 16
_MOMENT_WEIGHT = 0.02  # holds each latent channel at mean 0 and spread 1, which SD-1.5's sampler expects
_LATENT_NOISE = 0.05  # the decoder learns to bear what a sampler leaves


def _edges(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., :, 1:] - x[..., :, :-1]


def _initialize(vae: nn.Module) -> None:
    """Kaiming's; residual branches start small."""
    torch.manual_seed(0)
    for module in vae.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in vae.modules():
        if isinstance(module, Block):
            module.conv[-1].weight.data.mul_(0.1)


def _error(output: Tensor, x: Tensor) -> Tensor:
    """Absolute, squared and edge error of the decoder's output in 0..1; x (b, 3, h, w) in -1..1."""
    seen = output.float() * 2 - 1
    edge = sum(functional.l1_loss(a, b) for a, b in zip(_edges(seen), _edges(x), strict=True))
    return functional.l1_loss(seen, x) + 0.5 * functional.mse_loss(seen, x) + edge


def _noised(latents: Tensor) -> Tensor:
    return latents + _LATENT_NOISE * torch.randn_like(latents)


def train(folder: Path) -> nn.Module:
    """The trained autoencoder; working files lie in ``folder``."""
    vae = new_vae()
    _initialize(vae)
    _train_both(vae, pictures(folder / "vae_pictures.npy", SCENES, FIRST_SEED), folder)
    _train_decoder(vae, (nameless_pictures(folder), extended_pictures(folder)[0]), folder)
    return vae.to(DEVICE).eval().requires_grad_(False)


def _train_both(vae: nn.Module, data: np.ndarray, folder: Path) -> None:
    trained = nn.ModuleList([vae.taesd_encoder, vae.taesd_decoder]).to(DEVICE).train().requires_grad_(True)

    def step_loss(step: int) -> Tensor:
        x = _batch(data, step, BATCH)
        with mixed_precision():
            latents = vae.taesd_encoder(x * 0.5 + 0.5)
            output = vae.taesd_decoder(_noised(latents))
        moments = latents.mean((0, 2, 3)).square().sum() + (latents.std((0, 2, 3)) - 1).square().sum()
        return _error(output, x) + _MOMENT_WEIGHT * moments

    optimize("vae", folder / "vae_training.safetensors", trained, MuonWithAdam(trained), CYCLES, step_loss)


def _train_decoder(vae: nn.Module, sets: tuple[np.ndarray, ...], folder: Path) -> None:
    vae.taesd_encoder.eval().requires_grad_(False)
    decoder = vae.taesd_decoder

    def step_loss(step: int) -> Tensor:
        x = torch.cat([_batch(data, step, DECODER_BATCH // len(sets)) for data in sets])
        with mixed_precision():
            output = decoder(_noised(vae.taesd_encoder(x * 0.5 + 0.5)))
        return _error(output, x)

    optimize("decoder", folder / "decoder_training.safetensors", decoder, MuonWithAdam(decoder), DECODER_CYCLES, step_loss)


def _batch(data: np.ndarray, step: int, size: int) -> Tensor:
    """Pictures (size, 3, h, w) in -1..1; also seeds torch's generator, which noises the latents."""
    torch.manual_seed(step)
    chosen = np.sort(np.random.default_rng(step).integers(len(data), size=size))
    return as_input(data[chosen]).to(DEVICE, memory_format=torch.channels_last)
