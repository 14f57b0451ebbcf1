"""The last stage: the files that ship."""

from __future__ import annotations

import json
from pathlib import Path

from comfy.taesd.taesd import TAESD
from safetensors.torch import save
from torch import Tensor

from cns_core.atomic_write import replacing
from demo.model import EMBEDDING, TEXT, TRAINED_TOKENS, UNET, VAE, new_vae

from .narrow import widened
from .unet import UNetAndText


def export_model(model: UNetAndText, vae: TAESD, seen: Tensor, target: Path, about: dict[str, object]) -> None:
    """Weights under SD-1.5's names; of the token embeddings the rows of ``seen``, the ids seen in training."""
    weights = {UNET + name: value for name, value in model.unet.state_dict().items()}
    weights |= {VAE + name: value for name, value in widened(vae, new_vae()).state_dict().items()}
    weights |= {TEXT + name: value for name, value in model.text.state_dict().items() if "text_projection" not in name}
    write(weights | {EMBEDDING: weights[EMBEDDING][seen], TRAINED_TOKENS: seen}, target, about)


def write(weights: dict[str, Tensor], target: Path, about: dict[str, object]) -> None:
    """In float16 what is a float."""
    halved = {name: (value.half() if value.is_floating_point() else value).contiguous() for name, value in weights.items()}
    with replacing(target) as unfinished:
        unfinished.write_bytes(save(halved, {"about": json.dumps(about)}))  # save_file would let nobody else read it
    print(f"{target} ({target.stat().st_size / 1e6:.1f} MB) {json.dumps(about)}")
