"""What the loop of diffusers' Custom Diffusion example does in a step, on the same sizes with random weights.

In every step: VAE encoding of the pixels, the text encoder with its whole embedding table as a parameter, the UNet with
trainable K/V projections, the two losses, gradient clipping, and AdamW over all K/V weights and the table.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch.nn.functional import mse_loss
from transformers import CLIPTextConfig, CLIPTextModel

from benchmarks.performance.setting import concept, costs, prior

# Where they differ from diffusers' and transformers' defaults.
_UNET = {"cross_attention_dim": 768}
_VAE = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
}
_CLIP = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}


def measure(base: Path, pixels: int, steps: int) -> dict[str, float]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**_UNET).to(device).requires_grad_(False)
    vae = AutoencoderKL(**_VAE).to(device).requires_grad_(False)
    text = CLIPTextModel(CLIPTextConfig(**_CLIP)).to(device).requires_grad_(False)
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    keys = (".attn2.to_k.weight", ".attn2.to_v.weight")
    trained = [parameter.requires_grad_() for name, parameter in unet.named_parameters() if name.endswith(keys)]
    table = text.get_input_embeddings().weight.requires_grad_()
    everything = [*trained, table]
    images = torch.stack([concept(pixels).images[0], prior(pixels).images[0]]).movedim(-1, 1).to(device) * 2 - 1
    ids = torch.randint(49_000, (2, 77), device=device)

    def train(count: int) -> None:
        optimizer = torch.optim.AdamW(everything, lr=1e-5)
        half = torch.autocast(device.type, torch.float16, enabled=device.type == "cuda")
        scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
        for _ in range(count):
            with half:
                latents = vae.encode(images).latent_dist.sample() * 0.18215
                noise = torch.randn_like(latents)
                timesteps = torch.randint(1000, (2,), device=device)
                noisy = scheduler.add_noise(latents, noise, timesteps)
                predicted = unet(noisy, timesteps, text(ids)[0]).sample
            instance, class_prior = predicted.float().chunk(2)
            wanted, wanted_prior = noise.float().chunk(2)
            loss = mse_loss(instance, wanted) + mse_loss(class_prior, wanted_prior)
            scaler.scale(loss).backward()
            table.grad[:-1] = 0  # all tokens but the new one
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(everything, 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()

    return costs(train, steps)
