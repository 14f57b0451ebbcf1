"""diffusers' UNet on ComfyUI's weights, for parity tests."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

# Stable Diffusion 1.5 in diffusers' words.
REFERENCE = {
    "cross_attention_dim": 768,
    "block_out_channels": (320, 640, 1280, 1280),
    "attention_head_dim": 8,
    "layers_per_block": 2,
    "sample_size": 64,
}
_PREFIX = "model.diffusion_model."


def diffusers_unet(state_dict: dict[str, torch.Tensor], config: dict) -> UNet2DConditionModel:
    """float32 UNet in eval mode with frozen weights equal to ComfyUI's ``state_dict``."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    checkpoint = {_PREFIX + name: weight.float().clone() for name, weight in state_dict.items()}
    unet.load_state_dict(convert_ldm_unet_checkpoint(checkpoint, dict(unet.config)), assign=True)
    return unet.requires_grad_(False).eval()


def comfy_to_diffusers_names(layout) -> dict[str, str]:
    """ComfyUI's K/V layer names -> diffusers', for SD-1.5's blocks."""
    names = {}
    for layer in layout.layers:
        parts = layer.name.split(".")
        side, index = parts[0], int(parts[1]) if parts[1].isdecimal() else 0
        tail = ".".join(parts[parts.index("transformer_blocks") :])
        if side == "middle_block":
            place = "mid_block.attentions.0"
        elif side == "input_blocks":
            place = f"down_blocks.{(index - 1) // 3}.attentions.{(index - 1) % 3}"
        else:
            place = f"up_blocks.{index // 3}.attentions.{index % 3}"
        names[layer.name] = f"{place}.{tail}"
    return names
