"""Judges of a few thousand random weights, in the files of real ones."""

from __future__ import annotations

from pathlib import Path

import comfy.sd1_clip
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, ViTConfig, ViTModel

_SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_TOKENIZER = Path(comfy.sd1_clip.__file__).with_name("sd1_tokenizer")


def tiny_clip(folder: Path) -> CLIPModel:
    """With CLIP's own tokenizer."""
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(_TOKENIZER)
    text = {**_SMALL, "vocab_size": len(tokenizer), "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config={**_SMALL, "patch_size": 32}, projection_dim=16)).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def tiny_dino(folder: Path) -> ViTModel:
    torch.manual_seed(0)
    model = ViTModel(ViTConfig(**_SMALL, patch_size=32), add_pooling_layer=False).eval()
    model.save_pretrained(folder)
    return model
