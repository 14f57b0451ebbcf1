"""Makes a full-size Stable Diffusion 1.5 checkpoint with seeded random weights, for trying the nodes without a download.

Its pictures are noise. Everything else is SD-1.5's: architecture, key names, sizes, float16 (2.1 GB).
"""

from __future__ import annotations

from pathlib import Path

import comfy.sd
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from comfy.supported_models import SD15
from safetensors.torch import save_file

import demo.model
from cns_core.atomic_write import replacing

NAME = "cns_random_weights_sd15.safetensors"

UNET_CONFIG = {
    **demo.model.UNET_CONFIG,
    "image_size": 32,
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "context_dim": 768,
}
_VAE_LEVELS = {"ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": []}
VAE_CONFIG = {**_VAE_LEVELS, "double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3}
_EMBEDDING_STD = 0.02


def fill(module: torch.nn.Module, seed: int) -> None:
    """Seeded weights in place: matrices scaled by fan-in, norms near one, biases near zero, embeddings as CLIP's."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "embedding" in name:
                parameter.copy_(_EMBEDDING_STD * noise)
            elif parameter.ndim >= 2:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(0.05 * noise + (1.0 if name.endswith("weight") else 0.0))


def random_state_dict(seed: int) -> dict[str, torch.Tensor]:
    """Weights under the names of a published SD-1.5 checkpoint, float16."""
    config = SD15(UNET_CONFIG)
    unet = config.get_model({}, "", device="cpu").diffusion_model
    text = comfy.sd.CLIP(config.clip_target()).cond_stage_model.clip_l.transformer
    vae = AutoencoderKL(ddconfig=VAE_CONFIG, embed_dim=4)
    weights = {}
    parts = {"model.diffusion_model.": unet, "cond_stage_model.transformer.": text, "first_stage_model.": vae}
    for offset, (prefix, module) in enumerate(parts.items()):
        fill(module, seed + offset)
        weights |= {prefix + name: value.half() for name, value in module.state_dict().items()}
    del weights["cond_stage_model.transformer.text_projection.weight"]  # published SD-1.5 files have none
    return weights


def make(path: Path, seed: int = 0) -> Path:
    """Writes the checkpoint unless it is there already; atomic."""
    if not path.is_file():
        with replacing(path) as unfinished:
            save_file(random_state_dict(seed), unfinished)
    return path
