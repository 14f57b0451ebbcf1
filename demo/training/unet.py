"""Stage 3: the UNet and the text encoder together, on Stable Diffusion's noise-prediction loss with min-SNR weights."""

from __future__ import annotations

from pathlib import Path

import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.supported_models import SD15
from demo_model import UNET_CONFIG, new_clip
from random_checkpoint import fill
from torch import Tensor, nn

from cns_core.comfy_adapter.normal_tensors import out_of_place_norms

from . import vae as vae_stage
from .latents import NORMALIZATION_SAMPLE, dataset, normalize, token_ids
from .pictures import pictures
from .progress import optimize

STEPS, BATCH, LEARNING_RATE = 16_000, 64, 8e-4
_UNCONDITIONAL = 0.1  # share of prompts that are empty, for classifier-free guidance
_MAX_SNR = 5.0  # min-SNR-5 weights (Hang et al. 2023): composition, decided at high noise, is what takes long to learn
_AVERAGE = 0.9995  # decay of the weights' moving average, which is what ships


class Generator(nn.Module):
    """UNet and text encoder as one module to optimize."""

    def __init__(self) -> None:
        super().__init__()
        base = SD15(UNET_CONFIG).get_model({}, "", device="cpu")
        self.unet = base.diffusion_model
        self.clip = new_clip()
        self.text = self.clip.cond_stage_model.clip_l.transformer
        fill(self, 1)
        self.register_buffer("alphas", 1 / (base.model_sampling.sigmas**2 + 1), persistent=False)

    def encode(self, ids: Tensor) -> Tensor:
        """Token ids (b, 77) -> conditioning (b, 77, features), as SD-1.5 reads it: the last layer, normed."""
        return self.text.text_model(ids, dtype=torch.float32)[0]

    def predict(self, noisy: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        options = {"optimized_attention_override": lambda _, *args, **kwargs: attention_pytorch(*args, **kwargs)}
        return self.unet(noisy, timesteps.float(), context=context, transformer_options=options)


def train(folder: Path) -> Generator:
    """The trained generator with averaged weights; working files lie in ``folder``."""
    vae = vae_stage.train(folder)
    normalize(vae, pictures(folder / "vae_pictures.npy", vae_stage.SCENES, vae_stage.FIRST_SEED)[:NORMALIZATION_SAMPLE])
    model = Generator()
    latents, tokens = dataset(folder, vae, model.clip)
    empty = torch.tensor(token_ids(model.clip, ""), dtype=torch.int32)
    model.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.0, fused=True)

    def step_loss(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        chosen = torch.randint(len(latents), (BATCH,), generator=generator)
        x, ids = latents[chosen].float(), tokens[chosen]
        ids = torch.where(torch.rand(BATCH, 1, generator=generator) < _UNCONDITIONAL, empty, ids)
        timesteps = torch.randint(1000, (BATCH,), generator=generator)
        noise = torch.randn(x.shape, generator=generator)
        signal = model.alphas[timesteps].view(-1, 1, 1, 1)
        predicted = model.predict(signal.sqrt() * x + (1 - signal).sqrt() * noise, timesteps, model.encode(ids.long()))
        weights = (_MAX_SNR * (1 - signal) / signal).clamp(max=1)
        return (weights * (predicted - noise).square()).mean()

    @torch.no_grad()
    def average(step: int, averaged: dict[str, Tensor]) -> dict[str, Tensor]:
        decay = min(_AVERAGE, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if name in averaged:
                averaged[name].lerp_(value, 1 - decay)
            else:
                averaged[name] = value.clone()
        return averaged

    with out_of_place_norms(model.text):
        path = folder / "unet_training.safetensors"
        averaged = optimize("unet", path, model, optimizer, STEPS, LEARNING_RATE, step_loss, average)
    model.load_state_dict(averaged)
    return model.eval().requires_grad_(False)
