"""A small model in SD-1.5's shape, made of ComfyUI's own classes with seeded random weights.

Real tokenizer, real text encoder class, real UNet class, real patchers: only the sizes differ (about 1 M parameters).
"""

from __future__ import annotations

import comfy.model_management
import comfy.sd
import comfy.supported_models
import torch
from comfy.model_patcher import ModelPatcher

import demo.model
from demo.training.random_checkpoint import fill

WIDTH = 64  # of the text features

UNET_CONFIG = {**demo.model.UNET_CONFIG, "image_size": 32, "model_channels": 32, "context_dim": WIDTH}
CLIP_CONFIG = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4}


def tiny_model(seed: int = 0, dtype: torch.dtype = torch.float32, width: int = WIDTH) -> ModelPatcher:
    """Loaded as a loader node loads it: under inference mode, so its weights are inference tensors."""
    with torch.inference_mode():
        config = comfy.supported_models.SD15({**UNET_CONFIG, "dtype": dtype, "context_dim": width})
        model = config.get_model({}, "", device="cpu")
        fill(model.diffusion_model, seed)
    device = comfy.model_management.get_torch_device()
    return ModelPatcher(model, load_device=device, offload_device=torch.device("cpu"))


def tiny_clip(seed: int = 0, dtype: torch.dtype | None = None, **config: int) -> comfy.sd.CLIP:
    with torch.inference_mode():
        target = comfy.supported_models.SD15(UNET_CONFIG).clip_target()
        clip = comfy.sd.CLIP(target, model_options={"clip_l_model_config": {**CLIP_CONFIG, **config}, "dtype": dtype})
        fill(clip.cond_stage_model, seed)
    return clip


class AveragingVAE:
    """Latents as 8 × 8 pixel means: all a training asks of a VAE, without 80 M random weights."""

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        means = torch.nn.functional.avg_pool2d(pixels.movedim(-1, 1), 8)
        return torch.cat([means, means.mean(dim=1, keepdim=True)], dim=1)
