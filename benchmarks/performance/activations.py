"""How many bytes of activations a training step of the full SD-1.5 UNet keeps for its backward pass, by exact count.

``python benchmarks/performance/activations.py COMFYUI_FOLDER`` with the Python of ``.venv``; runs on a CPU at 256 px in
float32 and prints the figure scaled to 512 px (four times as many positions) in 16-bit precision (half the bytes).
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [sys.argv[1], str(ROOT / "demo")]
sys.path.append(str(ROOT))  # after ComfyUI, whose nodes.py must win over our folder nodes/

from comfy.cli_args import args  # noqa: E402

args.cpu = True

from comfy.ldm.modules.attention import attention_pytorch  # noqa: E402
from comfy.supported_models import SD15  # noqa: E402

from cns_core.kv_layers import find_kv_modules  # noqa: E402
from cns_core.training.checkpointing import checkpointed  # noqa: E402
from demo.training.random_checkpoint import UNET_CONFIG  # noqa: E402


def kept_bytes(unet: torch.nn.Module, checkpointing: bool) -> int:
    """Bytes of distinct storages saved for backward in one forward of one sample, parameters not counted."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in unet.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    options = {"optimized_attention_override": lambda _, *args, **kwargs: attention_pytorch(*args, **kwargs)}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), checkpointed(unet, checkpointing):
        context = torch.randn(1, 77, 768, requires_grad=True)
        output = unet(torch.randn(1, 4, 32, 32), torch.tensor([500.0]), context=context, transformer_options=options)
    total = sum(saved.values())
    del output  # until here the graph kept every counted storage alive, so none is counted twice
    return total


def main() -> None:
    unet = SD15(UNET_CONFIG).get_model({}, "", device="cpu").diffusion_model.requires_grad_(False)
    for parameter in unet.parameters():
        parameter.data.normal_(std=0.01)
    for module in find_kv_modules(unet).values():
        module.weight.requires_grad_(True)
    for checkpointing in (False, True):
        total = kept_bytes(unet, checkpointing)
        name = "checkpointed" if checkpointing else "plain"
        print(f"{name:13} {total / 1e6:6.0f} MB at 256 px float32 = {total * 2 / 1e6:6.0f} MB a sample at 512 px in 16 bit")


if __name__ == "__main__":
    main()
