"""Looks at the MODEL and CLIP a user wired in: is it SD-1.5, is it unpatched, what are its pretrained K/V weights."""

from __future__ import annotations

import comfy.sd1_clip
import comfy.supported_models
from comfy.model_base import ModelType
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from torch import Tensor

from ..errors import CNSError
from ..kv_layers import Fingerprint, KVLayout, find_kv_modules, layout_of
from .in_place import carries_state

_UNET = "diffusion_model."
_LATENT_CHANNELS = 4


def weight_key(layer_name: str) -> str:
    """Name of a K/V weight in a MODEL's state dict."""
    return f"{_UNET}{layer_name}.weight"


def check_sd15(model: ModelPatcher) -> None:
    """Raises CNSError for anything but a plain SD-1.5 noise-prediction model."""
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
            f"The MODEL wired in predicts {base.model_type.name}, but SD 1.5 predicts the noise (EPS): load a plain "
            "SD 1.5 checkpoint."
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


def check_unpatched(model: ModelPatcher, clip: CLIP) -> None:
    """Raises CNSError where a LoRA, a merge, a hook or an applied state would be trained into the concept.

    Masks and differences are defined on the pretrained weights; a concept taught on a mixture would be right on it only.
    """
    if carries_state(model):
        raise CNSError(
            "The MODEL wired in carries a CNS state: wire the checkpoint loader's output here, and the state into "
            "previous_state."
        )
    for what, patcher in (("MODEL", model), ("CLIP", clip.patcher)):
        if patcher.patches:
            raise CNSError(
                f"The {what} wired in carries patches on {len(patcher.patches)} weights (a LoRA or a merge): wire the "
                "checkpoint loader's output here, and add LoRAs after Apply CNS State."
            )
        if patcher.hook_patches or patcher.forced_hooks or patcher.injections:
            raise CNSError(f"The {what} wired in carries hooks or injections: wire the checkpoint loader's output here.")
    if model.object_patches:
        raise CNSError(
            f"The MODEL wired in has replaced parts ({', '.join(sorted(model.object_patches))}): wire the checkpoint "
            "loader's output here, and sampling nodes after Apply CNS State."
        )
    if has_tokens(clip):
        raise CNSError(
            "The CLIP wired in already knows CNS tokens: wire the checkpoint loader's CLIP here, and the state into "
            "previous_state."
        )


def pretrained_kv(model: ModelPatcher) -> dict[str, Tensor]:
    """``W0``: K/V weights (out, in) by layer name as the checkpoint has them, whatever is patched in place right now.

    Not copies, and on the device that holds them: do not write to them.
    """
    patches = model.get_key_patches(_UNET)
    weights = {}
    for name in find_kv_modules(model.model.diffusion_model):
        stored, convert = patches[weight_key(name)][0][:2]
        weights[name] = convert(stored, inplace=False)
    return weights


def inspect(model: ModelPatcher, clip: CLIP) -> tuple[dict[str, Tensor], KVLayout, Fingerprint]:
    """Checks MODEL and CLIP and returns ``W0``, its layout and its fingerprint."""
    check_sd15(model)
    weights = pretrained_kv(model)
    layout = layout_of(weights)
    check_clip(clip, layout)
    return weights, layout, Fingerprint.of(weights)


def token_embedding(clip: CLIP) -> Tensor:
    """The text encoder's embedding table (vocabulary, features); not a copy."""
    text_model = clip.cond_stage_model
    return getattr(text_model, text_model.clip).transformer.get_input_embeddings().weight


def has_tokens(clip: CLIP) -> bool:
    """Whether Apply CNS State made this CLIP."""
    return bool(getattr(clip.tokenizer, "cns_tokens", None))
