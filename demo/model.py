"""The demo model: Stable Diffusion 1.5's shape in small, of ComfyUI's own classes, trained on a drawn world.

Its file has the names of an SD-1.5 checkpoint, in float16. Of the token embeddings it holds the rows that were trained;
the others are what they were before the training, drawn from a seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from pathlib import Path

import comfy.model_management as memory
import comfy.sd
import torch
from comfy.latent_formats import SD15 as SD15Latents
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from comfy.supported_models import SD15
from comfy.taesd.taesd import TAESD
from safetensors.torch import load_file
from torch import Tensor

MODEL_FILE = Path(__file__).with_name("cns_demo_model.safetensors")
WIDTH = 128  # of the text features
PIXELS = 128
UNET_CONFIG = {
    "image_size": 16,
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
_HEADS = 4  # SD-1.5's 8 would leave 8 channels to each
UNET, TEXT, VAE = "model.diffusion_model.", "cond_stage_model.transformer.", "first_stage_model."
EMBEDDING = f"{TEXT}text_model.embeddings.token_embedding.weight"
TRAINED_TOKENS = "trained_token_ids"
_EMBEDDING_SEED, _EMBEDDING_STD = 0, 0.02


def new_vae() -> TAESD:
    """ComfyUI's tiny autoencoder, its latents scaled as SD-1.5's are."""
    vae = TAESD(latent_channels=4)
    vae.vae_scale.data.fill_(SD15Latents().scale_factor)
    return vae


def new_base_model() -> BaseModel:
    """ComfyUI's BaseModel: the UNet with SD-1.5's noise schedule."""
    config = SD15(UNET_CONFIG)
    config.unet_config["num_heads"] = _HEADS
    config.set_inference_dtype(torch.float32, None)
    return config.get_model({}, "")


def new_clip(embedding_folders: list[str] | None = None) -> comfy.sd.CLIP:
    options = {"clip_l_model_config": CLIP_CONFIG, "dtype": torch.float32}
    # Newer ComfyUI streams weights from the loader's file unless told otherwise; these come from no such file.
    static = {"disable_dynamic": True} if "disable_dynamic" in signature(comfy.sd.CLIP.__init__).parameters else {}
    target = SD15(UNET_CONFIG).clip_target()
    return comfy.sd.CLIP(target, embedding_directory=embedding_folders, model_options=options, **static)


def untrained_embedding(vocabulary: int) -> Tensor:
    """float32 (vocabulary, WIDTH): where the training of the token embeddings starts."""
    return _EMBEDDING_STD * torch.randn(vocabulary, WIDTH, generator=torch.Generator().manual_seed(_EMBEDDING_SEED))


def load_demo_model(
    path: Path = MODEL_FILE, embedding_folders: list[str] | None = None
) -> tuple[ModelPatcher, comfy.sd.CLIP, comfy.sd.VAE]:
    """MODEL, CLIP and VAE that any node accepts, in float32.

    Raises:
        OSError, SafetensorError: no such file, or one cut short.
    """
    weights = {name: value.float() if value.is_floating_point() else value for name, value in load_file(path).items()}
    base = new_base_model()
    base.diffusion_model.load_state_dict(_under(UNET, weights))
    model = ModelPatcher(base, load_device=memory.get_torch_device(), offload_device=memory.unet_offload_device())
    clip = new_clip(embedding_folders)
    text = clip.cond_stage_model.clip_l.transformer
    embedding = untrained_embedding(text.get_input_embeddings().weight.shape[0])
    embedding[weights[TRAINED_TOKENS]] = weights[EMBEDDING]
    text.load_state_dict(_under(TEXT, weights | {EMBEDDING: embedding}), strict=False)  # SD-1.5 has no text projection
    return model, clip, comfy.sd.VAE(sd=_under(VAE, weights))


def _under(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
