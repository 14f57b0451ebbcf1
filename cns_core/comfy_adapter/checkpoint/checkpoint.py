"""Looks at the MODEL and CLIP a user wired in: is it SD-1.5, what are its pretrained K/V weights, which checkpoint is it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import comfy.sd1_clip
import comfy.supported_models
from comfy.model_base import ModelType
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from torch import Tensor, nn

from ...errors import CNSError
from ...fingerprint import Fingerprint, Projections
from ...kv_layers import KVLayout, find_kv_modules, layout_of

_UNET = "diffusion_model."
_LATENT_CHANNELS = 4
# Of the text encoder's 123 M weights every 16th row of each matrix is looked at: whatever trains or merges it moves all rows.
_TEXT_ROWS = 16


def weight_key(layer_name: str) -> str:
    """Name of a K/V weight in a MODEL's state dict."""
    return f"{_UNET}{layer_name}.weight"


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
            f"The MODEL wired in reads {channels} latent channels (an inpainting or edit model), but CNS teaches the plain "
            "SD 1.5 with 4: load the base checkpoint."
        )
    if base.model_type != ModelType.EPS:
        raise CNSError(
            f"The MODEL wired in predicts {base.model_type.name}, but CNS teaches checkpoints that predict the noise (EPS): "
            "load an SD 1.5 checkpoint that does."
        )


def check_clip(clip: CLIP, layout: KVLayout) -> None:
    """Raises CNSError for a text encoder that is not SD-1.5's CLIP, or whose width the model does not read."""
    if clip is None:
        raise CNSError("No CLIP was given: this checkpoint may hold none; load one that does, or wire a CLIP loader.")
    text_model = clip.cond_stage_model
    if not isinstance(text_model, comfy.sd1_clip.SD1ClipModel):
        raise CNSError(
            f"The CLIP wired in is {type(text_model).__name__}, but SD 1.5 needs its own CLIP-L: wire the checkpoint's."
        )
    width = token_embedding(clip).shape[1]
    if width != layout.in_features:
        raise CNSError(
            f"The CLIP wired in gives text features of width {width}, but the model's cross-attention reads "
            f"{layout.in_features}: wire the CLIP of the same checkpoint."
        )


def check_plain(what: str, parameters: Iterable[tuple[str, Tensor]]) -> None:
    """Raises CNSError where one of the named parameters is not an ordinary tensor of floating-point numbers."""
    for name, weight in parameters:
        if type(weight) not in (Tensor, nn.Parameter) or not weight.is_floating_point():
            raise _quantized(what, name, f"a {type(weight).__name__} of {weight.dtype}")


def pretrained_kv(model: ModelPatcher) -> dict[str, Tensor]:
    """``W0``: K/V weights (out, in) by layer name as the checkpoint has them, whatever is patched in place right now.

    Not copies, and on the device that holds them: do not write to them.

    Raises:
        CNSError: quantized weights.
    """
    modules = find_kv_modules(model.model.diffusion_model)
    parameters = {weight_key(name): module.weight for name, module in modules.items()}
    return dict(zip(modules, _as_stored("MODEL", model, _UNET, parameters), strict=True))


def text_encoder_rows(clip: CLIP) -> list[Tensor]:
    """A sample of the rows of each of the text encoder's matrices, as its file has them, whatever LoRA is patched on.

    Without the projection, which SD-1.5 does not use and only some files have.

    Raises:
        CNSError: quantized weights.
    """
    text_model = clip.cond_stage_model
    prefix = f"{text_model.clip}.transformer.text_model."
    parameters = {name: weight for name, weight in text_model.named_parameters() if name.startswith(prefix)}
    matrices = {name: weight for name, weight in sorted(parameters.items()) if weight.ndim == 2}
    return [weight[::_TEXT_ROWS] for weight in _as_stored("CLIP", clip.patcher, prefix, matrices)]


def _as_stored(what: str, patcher: ModelPatcher, prefix: str, parameters: Mapping[str, Tensor]) -> list[Tensor]:
    """The named weights without the patches that may be on them right now; not copies."""
    check_plain(what, parameters.items())
    patches = patcher.get_key_patches(prefix)
    weights = []
    for name in parameters:
        stored, convert = patches[name][0][:2]
        if convert(stored, inplace=False) is not stored:
            raise _quantized(what, name, f"{stored.dtype} with a scale")
        weights.append(stored)
    return weights


def _quantized(what: str, name: str, storage: str) -> CNSError:
    return CNSError(
        f"The {what} wired in is quantized ({name} is {storage}), but CNS needs plain float weights: load the checkpoint's "
        "float16 or float32 .safetensors file with Load Checkpoint."
    )


def clip_skip(clip: CLIP) -> int:
    """Which layer of the text encoder, counted from the end, gives the features: 1 is the last, as without CLIP Set Last Layer.

    The text encoder is asked, set as ComfyUI sets it before it encodes: it takes the last layer for a number beyond its own.
    """
    text_model = clip.cond_stage_model
    encoder = getattr(text_model, text_model.clip)
    text_model.reset_clip_options()
    if clip.layer_idx is not None:
        text_model.set_clip_options({"layer": clip.layer_idx})
    layer = -1 if encoder.layer == "last" else encoder.layer_idx
    text_model.reset_clip_options()
    return -layer if layer < 0 else encoder.num_layers - layer


def inspect(model: ModelPatcher, clip: CLIP) -> tuple[dict[str, Tensor], KVLayout, Fingerprint]:
    """Checks MODEL and CLIP and returns ``W0``, its layout and the fingerprint of both."""
    check_sd15(model)
    weights = pretrained_kv(model)
    layout = layout_of(weights)
    check_clip(clip, layout)
    kv, text = Projections.of(weights.values()), Projections.of(text_encoder_rows(clip))
    return weights, layout, Fingerprint(kv, text, clip_skip(clip))


def token_embedding(clip: CLIP) -> Tensor:
    """The text encoder's embedding table (vocabulary, features); not a copy."""
    text_model = clip.cond_stage_model
    return getattr(text_model, text_model.clip).transformer.get_input_embeddings().weight


def has_tokens(clip: CLIP) -> bool:
    """Whether Apply CNS State made this CLIP."""
    return bool(getattr(clip.tokenizer, "cns_tokens", None))
