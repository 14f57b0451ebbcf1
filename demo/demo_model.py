"""The demo model: Stable Diffusion 1.5's shape in small, of ComfyUI's own classes.

ComfyUI must be importable. Names of weights are those of an SD-1.5 checkpoint.
"""

from __future__ import annotations

import comfy.sd
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from comfy.supported_models import SD15

WIDTH = 128  # of the text features
UNET_CONFIG = {
    "image_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 64,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [1, 1],
    "transformer_depth_output": [1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "context_dim": WIDTH,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "adm_in_channels": None,
    "legacy": False,
    "dtype": torch.float32,
}
CLIP_CONFIG = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": 4, "num_attention_heads": 4}
VAE_CONFIG = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 64,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 32,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 1,
    "attn_resolutions": [],
    "dropout": 0.0,
}


def new_vae() -> AutoencoderKL:
    return AutoencoderKL(ddconfig=VAE_CONFIG, embed_dim=4)


def new_unet() -> torch.nn.Module:
    return SD15(UNET_CONFIG).get_model({}, "", device="cpu").diffusion_model


def new_clip() -> comfy.sd.CLIP:
    options = {"clip_l_model_config": CLIP_CONFIG, "dtype": torch.float32}
    return comfy.sd.CLIP(SD15(UNET_CONFIG).clip_target(), model_options=options)
