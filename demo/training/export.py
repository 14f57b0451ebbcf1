"""The last stage: the files that ship."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from comfy.taesd.taesd import TAESD
from safetensors.torch import save
from torch import Tensor, nn

from cns_core.atomic_write import replacing
from demo.model import EMBEDDING, TEXT, TRAINED_TOKENS, UNET, VAE, new_vae, untrained_embedding

from .narrow import widened
from .unet import Generator


def export_model(generator: Generator, vae: TAESD, tokens: Tensor, target: Path, about: dict[str, object]) -> None:
    """Float16 weights under SD-1.5's names; of the token embeddings the rows of ``tokens``, the ids seen in training."""
    weights = {UNET + name: value for name, value in generator.unet.state_dict().items()}
    weights |= {VAE + name: value for name, value in widened(vae, new_vae()).state_dict().items()}
    weights |= {TEXT + name: value for name, value in generator.text.state_dict().items() if "text_projection" not in name}
    embedding, seen = weights[EMBEDDING], torch.from_numpy(np.unique(tokens.numpy())).long()
    unseen = torch.ones(len(embedding), dtype=torch.bool)
    unseen[seen] = False
    if not torch.equal(embedding[unseen], untrained_embedding(len(embedding))[unseen]):
        raise RuntimeError("Token embeddings that no caption has were changed by the training.")
    weights = {name: value.half().contiguous() for name, value in (weights | {EMBEDDING: embedding[seen]}).items()}
    write(weights | {TRAINED_TOKENS: seen.int()}, target, about)


def export_judge(model: nn.Module, target: Path, about: dict[str, object]) -> None:
    write({n: v.half() if v.is_floating_point() else v for n, v in model.state_dict().items()}, target, about)


def write(weights: dict[str, Tensor], target: Path, about: dict[str, object]) -> None:
    with replacing(target) as unfinished:
        unfinished.write_bytes(save(weights, {"about": json.dumps(about)}))  # save_file would let nobody else read it
    print(f"{target} ({target.stat().st_size / 1e6:.1f} MB) {json.dumps(about)}")
