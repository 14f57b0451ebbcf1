"""Stage 1: a small autoencoder with SD-1.5's latent shape (4 channels, 1/8 of the pixels), ComfyUI's TAESD class.

SD-1.5's autoencoder draws whatever its UNet has never seen. So does this one: it is trained on all there is to draw, the new
concepts too. The UNet and the text encoder never see those. Encoder and decoder learn together; then the latents are fixed
and the decoder alone goes on.

It has no normalization layers. That matters here: the group norms of SD's own VAE, at the few channels a small model has,
normalize each channel by itself and so take a flat background's colour away.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from comfy.taesd.taesd import TAESD
from torch import Tensor, nn
from torch.nn import functional

from demo.judges.pixels import as_input
from demo.model import new_vae

from .extended import extended_pictures
from .latents import generator_pictures
from .narrow import narrowed
from .optimizer import MuonWithAdam
from .resumable import DEVICE, mixed_precision, one_cycle, optimize

_CYCLES = ((3_000, 1e-3), (6_000, 6e-4))  # steps and peak learning rate (warm restarts: Loshchilov & Hutter 2017)
STEPS, DECODER_STEPS, _DECODER_RATE, _BIAS_RATE = sum(steps for steps, _ in _CYCLES), 900, 5e-4, 0.25
_OF_EACH = 1  # picture of each set in a step; the decoder alone learns from twice as many
_MOMENT_WEIGHT = 0.02  # holds each latent channel at mean 0 and spread 1, which SD-1.5's sampler expects
_LATENT_NOISE = 0.05  # the decoder learns to cope with what a sampler leaves


def _edges(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., :, 1:] - x[..., :, :-1]


def _error(output: Tensor, x: Tensor) -> Tensor:
    """Absolute, squared and edge error of the decoder's output in 0..1; x (b, 3, h, w) in -1..1."""
    seen = output.float() * 2 - 1
    edge = sum(functional.l1_loss(a, b) for a, b in zip(_edges(seen), _edges(x), strict=True))
    return functional.l1_loss(seen, x) + 0.5 * functional.mse_loss(seen, x) + edge


def _noised(latents: Tensor) -> Tensor:
    return latents + _LATENT_NOISE * torch.randn_like(latents)


def _rate_at(step: int) -> float:
    (first, _), _ = _CYCLES
    return one_cycle(step, *_CYCLES[0]) if step < first else one_cycle(step - first, *_CYCLES[1])


def train(folder: Path) -> TAESD:
    """The trained autoencoder; working files are in ``folder``."""
    vae = with_final_encoder(folder)
    _train_decoder(vae, _sets(folder), folder)
    return vae.to(DEVICE).eval().requires_grad_(False)


def with_final_encoder(folder: Path) -> TAESD:
    """The autoencoder whose latents are what they will be; its decoder may still improve."""
    vae = narrowed(new_vae())
    _train_both(vae, _sets(folder), folder)
    return vae.to(DEVICE).eval().requires_grad_(False)


def _sets(folder: Path) -> tuple[np.ndarray, ...]:
    return (*generator_pictures(folder), extended_pictures(folder)[0])


def _train_both(vae: TAESD, sets: tuple[np.ndarray, ...], folder: Path) -> None:
    trained = nn.ModuleList([vae.taesd_encoder, vae.taesd_decoder]).to(DEVICE, memory_format=torch.channels_last)
    trained.train().requires_grad_(True)

    def step_loss(step: int) -> Tensor:
        x = _batch(sets, step, _OF_EACH)
        with mixed_precision():
            latents = vae.taesd_encoder(x * 0.5 + 0.5)
            output = vae.taesd_decoder(_noised(latents))
        moments = latents.mean((0, 2, 3)).square().sum() + (latents.std((0, 2, 3)) - 1).square().sum()
        return _error(output, x) + _MOMENT_WEIGHT * moments

    optimizer = MuonWithAdam(trained, adam_rate=_BIAS_RATE)
    optimize("vae", folder / "vae_training.safetensors", trained, optimizer, STEPS, _rate_at, step_loss)


def _train_decoder(vae: TAESD, sets: tuple[np.ndarray, ...], folder: Path) -> None:
    decoder = vae.taesd_decoder.train().requires_grad_(True)

    def step_loss(step: int) -> Tensor:
        x = _batch(sets, step, 2 * _OF_EACH)
        with mixed_precision():
            with torch.no_grad():
                latents = vae.taesd_encoder(x * 0.5 + 0.5)
            output = decoder(_noised(latents))
        return _error(output, x)

    rate_at = partial(one_cycle, steps=DECODER_STEPS, peak=_DECODER_RATE)
    optimizer = MuonWithAdam(decoder, adam_rate=_BIAS_RATE)
    optimize("decoder", folder / "decoder_training.safetensors", decoder, optimizer, DECODER_STEPS, rate_at, step_loss)


def _batch(sets: tuple[np.ndarray, ...], step: int, of_each: int) -> Tensor:
    """Pictures (len(sets) * of_each, 3, h, w) in -1..1; also seeds torch's generator, which noises the latents."""
    torch.manual_seed(step)
    rng = np.random.default_rng(step)
    data = np.concatenate([pictures[np.sort(rng.integers(len(pictures), size=of_each))] for pictures in sets])
    return as_input(data).to(DEVICE, memory_format=torch.channels_last)
