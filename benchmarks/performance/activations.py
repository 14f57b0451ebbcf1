"""How many bytes of activations a training step of the full SD-1.5 UNet keeps for its backward pass, by exact count."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import torch
from comfy.supported_models import SD15
from torch.nn.attention import SDPBackend, sdpa_kernel

from cns_core.comfy_adapter.checkpoint.prediction import ATTENTION
from cns_core.kv_layers import find_kv_modules
from cns_core.training.checkpointing import checkpointed
from cns_core.training.frozen import lean_convolutions
from demo.training.random_checkpoint import UNET_CONFIG

_LINEAR, _SQUARE = 4 // 2, 16 // 2  # what grows with the pixels, or their square, from 256 px in float32 to 512 px in 16 bits


def measure(base: Path) -> dict[str, dict[str, int]]:
    """Bytes of a sample at 512 px in 16 bits, counted at 256 px in float32."""
    unet = SD15(UNET_CONFIG).get_model({}, "", device="cpu").diffusion_model.requires_grad_(False)
    for parameter in unet.parameters():
        parameter.data.normal_(std=0.01)
    for module in find_kv_modules(unet).values():
        module.weight.requires_grad_(True)
    kept = {}
    for title, convolutions in {
        "as torch keeps them": nullcontext(),
        "without the inputs of frozen convolutions": lean_convolutions(unet),
    }.items():
        with convolutions:
            fused = _both_ways(unet)
            kept[title] = {way: _LINEAR * count for way, count in fused.items()}
    with lean_convolutions(unet), sdpa_kernel(SDPBackend.MATH):
        whole = _both_ways(unet)
    kept["attention's matrices, where it is not fused"] = {way: _SQUARE * (whole[way] - count) for way, count in fused.items()}
    return kept


def _both_ways(unet: torch.nn.Module) -> dict[str, int]:
    return {"all kept": kept_bytes(unet, False), "gradient checkpointing": kept_bytes(unet, True)}


def kept_bytes(unet: torch.nn.Module, checkpointing: bool, width: int = 768) -> int:
    """Bytes of distinct storages saved for backward in one forward of one sample at 256 px, parameters not counted;
    ``width``: of the text features.
    """
    parameters = {parameter.untyped_storage().data_ptr() for parameter in unet.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), checkpointed(unet, checkpointing):
        context = torch.randn(1, 77, width, requires_grad=True)
        output = unet(torch.randn(1, 4, 32, 32), torch.tensor([500.0]), context=context, transformer_options=dict(ATTENTION))
    total = sum(saved.values())
    del output  # until here the graph kept every counted storage alive, so none is counted twice
    return total
