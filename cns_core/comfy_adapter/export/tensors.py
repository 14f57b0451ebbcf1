"""A state's weights and tokens under the names that other programs read."""

from __future__ import annotations

from collections.abc import Mapping

import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...state import CNSState

PRECISIONS = {"float16": torch.float16, "float32": torch.float32}


def diffusers_names(model: ModelPatcher) -> dict[str, str]:
    """ComfyUI's name of each K/V layer -> diffusers': ``down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k``."""
    theirs = comfy.utils.unet_to_diffusers(model.model.model_config.unet_config)
    return {ours.removesuffix(".weight"): name.removesuffix(".weight") for name, ours in theirs.items()}


def lora(state: CNSState, names: Mapping[str, str]) -> dict[str, Tensor]:
    """``W − W0`` of each matrix that differs, float32 (out, in), as LyCORIS' *full* has it: ``W0 + diff``, no rank, no alpha.

    ``names``: see :func:`diffusers_names`.
    """
    return {
        f"lora_unet_{names[layer.name].replace('.', '_')}.diff": torch.zeros(layer.size)
        .index_copy(0, positions, values)
        .view(layer.out_features, layer.in_features)
        for layer, positions, values in state.delta.layers()
    }


def kv_weights(state: CNSState, weights: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """``W0 + D`` of every K/V matrix, float32 (out, in), under the names of diffusers' UNet.

    ``weights``: W0 by ComfyUI's names. ``names``: see :func:`diffusers_names`.
    """
    taught = {name: weight.float().cpu().clone() for name, weight in weights.items()}
    for layer, positions, values in state.delta.layers():
        taught[layer.name].view(-1)[positions] += values
    return {f"{names[name]}.weight": weight for name, weight in taught.items()}


def largest_error(exact: Tensor, dtype: torch.dtype) -> float:
    """What storing numbers as ``dtype`` changes at most."""
    return (exact.to(dtype).float() - exact).abs().max().item()
