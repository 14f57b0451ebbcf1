"""The checkpoint a user wired in: its pretrained K/V weights, and which checkpoint it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from torch import Tensor

from ...fingerprint import Fingerprint, Projections
from ...kv_layers import KVLayout, find_kv_modules, layout_of
from .checks import check_clip, check_plain, check_sd15, quantized

_UNET = "diffusion_model."
# Of the text encoder's 123 M weights every 16th row of each matrix is looked at: whatever trains or merges it moves all rows.
_TEXT_ROWS = 16
_SAMPLED = 16  # numbers of each weight that a digest reads


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """MODEL and CLIP of one SD-1.5 checkpoint, and its VAE for those who encode images. ``name``: its file, for people.

    Raises:
        CNSError: anything but an SD-1.5 with plain weights and a CLIP that fits it.
    """

    model: ModelPatcher
    clip: CLIP
    vae: VAE | None = None
    name: str = ""

    def __post_init__(self) -> None:
        check_sd15(self.model)
        check_clip(self.clip, self.layout.in_features)

    @property
    def weights(self) -> dict[str, Tensor]:
        """``W0``, see :func:`pretrained_kv`. Read whenever it is asked for: a patch may come onto the model at any time."""
        return pretrained_kv(self.model)

    @cached_property
    def layout(self) -> KVLayout:
        return layout_of(self.weights)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Of both; raises CNSError for a CLIP with quantized weights."""
        kv, text = Projections.of(self.weights.values()), Projections.of(text_encoder_rows(self.clip))
        return Fingerprint(kv, text, clip_skip(self.clip), self.name)


def digest(checkpoint: Checkpoint) -> str:
    """Tells apart what draws different pictures: MODEL, CLIP with its CLIP skip, and VAE, by the first numbers of each weight
    as its file has it. The fingerprint, which states carry, knows only what training reads.
    """
    found = hashlib.sha256(str(clip_skip(checkpoint.clip)).encode())
    for patcher in (checkpoint.model, checkpoint.clip.patcher, getattr(checkpoint.vae, "patcher", None)):
        stored = patcher.get_key_patches() if patcher is not None else {}  # other packs bring VAEs of their own
        # One by one: a patched weight lies in the patcher's backup, which may be on another device.
        samples = [patches[0][0].detach().reshape(-1)[:_SAMPLED].float().cpu() for _, patches in sorted(stored.items())]
        found.update(torch.cat(samples).numpy().tobytes() if samples else type(checkpoint.vae).__name__.encode())
    return found.hexdigest()


def weight_key(layer_name: str) -> str:
    """Name of a K/V weight in a MODEL's state dict."""
    return f"{_UNET}{layer_name}.weight"


def pretrained_kv(model: ModelPatcher) -> dict[str, Tensor]:
    """``W0``: K/V weights (out, in) by layer name as the checkpoint has them, no matter what is patched in place right now.

    Not copies, and on the device that holds them: do not write to them.

    Raises:
        CNSError: quantized weights.
    """
    modules = find_kv_modules(model.model.diffusion_model)
    parameters = {weight_key(name): module.weight for name, module in modules.items()}
    return dict(zip(modules, _as_stored("MODEL", model, _UNET, parameters), strict=True))


def text_encoder_rows(clip: CLIP) -> list[Tensor]:
    """A sample of the rows of each of the text encoder's matrices, as its file has them, no matter which LoRA is patched on.

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
            raise quantized(what, name, f"{stored.dtype} with a scale")
        weights.append(stored)
    return weights


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
