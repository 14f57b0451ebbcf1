"""Stage 3: the UNet and the text encoder together, on Stable Diffusion's noise-prediction loss with min-SNR weights.

Half of the pictures are of the world, where all has a name. The others make the model one that can be taught: see
``world/nameless.py`` and ``world/looks.py``.
"""

from __future__ import annotations

from pathlib import Path

import torch
from comfy.ldm.modules.attention import attention_basic, attention_pytorch
from random_checkpoint import fill
from torch import Tensor, nn

from cns_core.comfy_adapter.demo_model import new_base_model, new_clip, untrained_embedding
from cns_core.comfy_adapter.normal_tensors import out_of_place_norms

from .latents import looks, nameless, token_ids, world
from .optimizer import MuonWithAdam
from .progress import BFLOAT16, DEVICE, mixed_precision, optimize

CYCLES, PICTURES = ((20_000, 2e-3),), 32
_UNCONDITIONAL = 0.1  # share of prompts that are empty, for classifier-free guidance
_MAX_SNR = 5.0  # min-SNR-5 weights (Hang et al. 2023): composition, decided at high noise, is what takes long to learn
_RESIDUAL_ENDS = ("out.2", "out_layers.3", "proj_out")  # start at zero, as the original implementation's zero_module
_AVERAGE = 0.9995  # decay of the weights' moving average, which is what ships
# The fused one's gradients crawl in bfloat16 on a CPU.
_attention = attention_basic if BFLOAT16 and DEVICE.type == "cpu" else attention_pytorch


class Generator(nn.Module):
    """UNet and text encoder as one module to optimize."""

    def __init__(self) -> None:
        super().__init__()
        base = new_base_model()
        self.unet = base.diffusion_model
        self.clip = new_clip()
        self.text = self.clip.cond_stage_model.clip_l.transformer
        fill(self, 1)
        embedding = self.text.get_input_embeddings().weight
        embedding.data.copy_(untrained_embedding(len(embedding)))
        for name, parameter in self.unet.named_parameters():
            if name.rpartition(".")[0].endswith(_RESIDUAL_ENDS):
                parameter.data.zero_()
        self.register_buffer("alphas", 1 / (base.model_sampling.sigmas**2 + 1), persistent=False)

    def encode(self, ids: Tensor) -> Tensor:
        """Token ids (b, 77) -> conditioning (b, 77, features), as SD-1.5 reads it: the last layer, normed."""
        return self.text.text_model(ids, dtype=torch.float32)[0]

    def predict(self, noisy: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        options = {"optimized_attention_override": lambda _, *args, **kwargs: _attention(*args, **kwargs)}
        return self.unet(noisy, timesteps.float(), context=context, transformer_options=options)


def train(folder: Path, vae: nn.Module) -> Generator:
    """The trained generator with averaged weights; working files lie in ``folder``."""
    model = Generator()
    sets = [made(folder, vae, model.clip) for made in (world, nameless, looks)]
    latents, tokens = (torch.cat(parts) for parts in zip(*sets, strict=True))
    empty = torch.tensor(token_ids(model.clip, ""), dtype=torch.int32)
    model.to(DEVICE).train().requires_grad_(True)
    optimizer = MuonWithAdam(model)

    def step_loss(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        chosen = torch.randint(len(latents), (PICTURES,), generator=generator)
        x, ids = latents[chosen].float().to(DEVICE), tokens[chosen]
        ids = torch.where(torch.rand(PICTURES, 1, generator=generator) < _UNCONDITIONAL, empty, ids)
        spread = (torch.arange(PICTURES) + torch.rand(1, generator=generator)) / PICTURES  # a step sees the whole schedule
        timesteps = (1000 * spread).long().clamp(max=999).to(DEVICE)
        noise = torch.randn(x.shape, generator=generator).to(DEVICE)
        signal = model.alphas[timesteps].view(-1, 1, 1, 1)
        with mixed_precision():
            context = model.encode(ids.long().to(DEVICE))
            predicted = model.predict(signal.sqrt() * x + (1 - signal).sqrt() * noise, timesteps, context)
        weights = (_MAX_SNR * (1 - signal) / signal).clamp(max=1)
        return (weights * (predicted.float() - noise).square()).mean()

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
        averaged = optimize("unet", path, model, optimizer, CYCLES, step_loss, average)
    model.load_state_dict(averaged)
    return model.cpu().eval().requires_grad_(False)
