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

from demo.judges.trunk import as_input
from demo.model import new_vae

from .extended import EXTENDED
from .latents import SETS
from .narrow import narrowed
from .trainer import DEVICE, mixed_precision, one_cycle, optimize

RATES = one_cycle(3_000, 1e-3) + one_cycle(6_000, 6e-4)  # warm restarts: Loshchilov & Hutter 2017
DECODER_RATES = one_cycle(900, 5e-4)
_BIAS_RATE = 0.25
_MOMENT_WEIGHT = 0.02  # holds each latent channel at mean 0 and spread 1, which SD-1.5's sampler expects
_LATENT_NOISE = 0.05  # the decoder learns to cope with what a sampler leaves


def train(folder: Path) -> TAESD:
    """The trained autoencoder; working files are in ``folder``."""
    vae, sets = narrowed(new_vae()), [one.pixels(folder) for one in (*SETS, EXTENDED)]
    encoder, decoder = vae.taesd_encoder, vae.taesd_decoder
    both = nn.ModuleList([encoder, decoder]).to(DEVICE, memory_format=torch.channels_last)

    def loss_of(step: int, of_each: int = 1) -> Tensor:
        x = _batch(sets, step, of_each)
        with mixed_precision():
            latents = encoder(x * 0.5 + 0.5)
            output = decoder(latents + _LATENT_NOISE * torch.randn_like(latents))
        moments = latents.mean((0, 2, 3)).square().sum() + (latents.std((0, 2, 3)) - 1).square().sum()
        return _error(output, x) + _MOMENT_WEIGHT * moments

    optimize(folder / "vae_training.safetensors", both, RATES, loss_of, _BIAS_RATE)
    encoder.eval().requires_grad_(False)  # the moments' loss is constant from here on
    optimize(folder / "decoder_training.safetensors", decoder, DECODER_RATES, partial(loss_of, of_each=2), _BIAS_RATE)
    return vae.to(DEVICE).eval().requires_grad_(False)


def _batch(sets: list[np.ndarray], step: int, of_each: int) -> Tensor:
    """Pictures (len(sets) * of_each, 3, h, w) in -1..1; also seeds torch's generator, which noises the latents."""
    torch.manual_seed(step)
    rng = np.random.default_rng(step)
    data = np.concatenate([pixels[np.sort(rng.integers(len(pixels), size=of_each))] for pixels in sets])
    return as_input(data).to(DEVICE, memory_format=torch.channels_last)


def _edges(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., :, 1:] - x[..., :, :-1]


def _error(output: Tensor, x: Tensor) -> Tensor:
    """Absolute, squared and edge error of the decoder's output in 0..1; x (b, 3, h, w) in -1..1."""
    seen = output.float() * 2 - 1
    edge = sum(functional.l1_loss(a, b) for a, b in zip(_edges(seen), _edges(x), strict=True))
    return functional.l1_loss(seen, x) + 0.5 * functional.mse_loss(seen, x) + edge
