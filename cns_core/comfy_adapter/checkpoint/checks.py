"""Is what a user wired in a plain Stable Diffusion 1.5?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import comfy.sd1_clip
import comfy.supported_models
from comfy.model_base import ModelType
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from torch import Tensor, nn

from ...errors import CNSError

_LATENT_CHANNELS = 4


def check_sd15(model: ModelPatcher) -> None:
    """Raises CNSError for anything but an SD-1.5 that its loader takes for a noise-prediction model."""
    base = model.model
    config = getattr(base, "model_config", None)
    if not isinstance(config, comfy.supported_models.SD15):
        name = type(config).__name__ if config is not None else type(base).__name__
        raise CNSError(f"The MODEL wired in is {name}, but CNS teaches Stable Diffusion 1.5 only: load an SD 1.5 checkpoint.")
    channels = config.unet_config.get("in_channels", _LATENT_CHANNELS)
    if channels != _LATENT_CHANNELS:
        raise CNSError(
            f"The MODEL wired in reads {channels} latent channels (an inpainting or edit model), but CNS teaches only plain "
            "SD 1.5, which reads 4: load the base checkpoint."
        )
    if base.model_type != ModelType.EPS:
        raise CNSError(
            f"The MODEL wired in predicts {base.model_type.name}, but CNS teaches checkpoints that predict the noise (EPS): "
            "load an SD 1.5 checkpoint that does."
        )


def check_clip(clip: CLIP, width: int) -> None:
    """Raises CNSError for a text encoder that is not SD-1.5's CLIP, or whose features are not of the width the model reads."""
    if clip is None:
        raise CNSError("No CLIP was given: this checkpoint may not contain one; load one that does, or wire a CLIP loader.")
    text_model = clip.cond_stage_model
    if not isinstance(text_model, comfy.sd1_clip.SD1ClipModel):
        raise CNSError(
            f"The CLIP wired in is {type(text_model).__name__}, but SD 1.5 needs its own CLIP-L: wire the checkpoint's."
        )
    given = token_embedding(clip).shape[1]
    if given != width:
        raise CNSError(
            f"The CLIP wired in gives text features of width {given}, but the model's cross-attention reads {width}: wire the "
            "CLIP of the same checkpoint."
        )


def check_plain(what: str, parameters: Iterable[tuple[str, Tensor]]) -> None:
    """Raises CNSError where one of the named parameters is not an ordinary tensor of floating-point numbers."""
    for name, weight in parameters:
        if type(weight) not in (Tensor, nn.Parameter) or not weight.is_floating_point():
            raise quantized(what, name, f"a {type(weight).__name__} of {weight.dtype}")


def check_storage(weights: Mapping[str, Tensor]) -> None:
    """Raises CNSError for float8: at its steps a usual change of K and V loses most of itself, and a large one a third."""
    coarse = next((weight.dtype for weight in weights.values() if weight.dtype.itemsize == 1), None)
    if coarse is not None:
        raise CNSError(
            f"The MODEL wired in keeps its weights in {str(coarse).removeprefix('torch.')}, too coarse for a state's changes: "
            "load the checkpoint's float16 file with weight_dtype default, and start ComfyUI without --fp8_e4m3fn-unet or "
            "--fp8_e5m2-unet."
        )


def quantized(what: str, name: str, storage: str) -> CNSError:
    return CNSError(
        f"The {what} wired in is quantized ({name} is {storage}), but CNS needs plain float weights: load the checkpoint's "
        "float16 or float32 .safetensors file with Load Checkpoint."
    )


def token_embedding(clip: CLIP) -> Tensor:
    """The text encoder's embedding table (vocabulary, features); not a copy."""
    text_model = clip.cond_stage_model
    return getattr(text_model, text_model.clip).transformer.get_input_embeddings().weight
