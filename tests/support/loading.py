"""Loads models and encodes prompts as the pack does, and says what weights must be then."""

from __future__ import annotations

import comfy.model_management
import torch
from cns_pack.cns_core.comfy_adapter.checkpoint.checkpoint import weight_key
from cns_pack.cns_core.comfy_adapter.checkpoint.conditioning import encode_all


def encode(clip, prompt: str) -> torch.Tensor:
    return encode_all(clip, [prompt])[0]


@torch.inference_mode()
def load(models) -> None:
    comfy.model_management.load_models_gpu(models)


def expected_weights(studio, state, strength: float, dtype=torch.float32) -> dict[str, torch.Tensor]:
    """``W0 + strength · delta`` computed densely in float32, rounded to the storage type."""
    before = studio.weights()
    for layer, positions, values in state.delta.layers():
        key = f"unet.{weight_key(layer.name)}"
        weight = before[key].float()
        weight.view(-1)[positions] += strength * values
        before[key] = weight.to(dtype)
    return before


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def diff_patch(studio, size: float):
    key = weight_key("input_blocks.1.1.transformer_blocks.0.attn2.to_k")
    weight = studio.model.model.diffusion_model.input_blocks[1][1].transformer_blocks[0].attn2.to_k.weight
    return key, {key: ("diff", (torch.full_like(weight, size),))}
