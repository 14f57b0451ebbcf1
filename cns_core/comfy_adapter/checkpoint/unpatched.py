"""What must not be on the MODEL and CLIP that a concept is taught to: everything that nodes put on a checkpoint.

Masks and differences are defined on the pretrained weights, and training calls the UNet directly, so that a concept taught
on a mixture would be right on it only, and one taught past a patch would be wrong with it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import comfy.model_sampling as sampling
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP

from ...errors import CNSError
from ..sparse_adapter import carries_state
from .checkpoint import Checkpoint
from .checks import check_plain
from .tokens import has_tokens

_LOADER = "wire the checkpoint loader's output here"
_OWN_PARTS = {"MODEL": set(), "CLIP": {"manual_cast_dtype"}}  # newer ComfyUI sets this one on every CLIP itself


def check_unpatched(checkpoint: Checkpoint) -> None:
    """Raises CNSError where a LoRA, a merge, a hook, an attention patch, a sampling node or an applied state would be lost or
    trained into the concept, and for a checkpoint that does not predict the noise.
    """
    model, clip = checkpoint.model, checkpoint.clip
    if carries_state(model):
        raise CNSError(
            "The MODEL wired in carries a CNS state: wire the checkpoint loader's output here, and the state into "
            "previous_state."
        )
    if has_tokens(clip):
        raise CNSError(
            "The CLIP wired in already knows CNS tokens: wire the checkpoint loader's CLIP here, and the state into "
            "previous_state."
        )
    _check_prediction(model)
    for what, patcher in (("MODEL", model), ("CLIP", clip.patcher)):
        if patcher.patches:
            raise CNSError(
                f"The {what} wired in carries patches on {len(patcher.patches)} weights (a LoRA or a merge): {_LOADER}, and "
                "add LoRAs after Apply CNS State."
            )
        if patcher.hook_patches or patcher.forced_hooks or patcher.injections or patcher.additional_models:
            raise CNSError(f"The {what} wired in carries hooks or injections: {_LOADER}.")
        parts = sorted(set(patcher.object_patches) - _OWN_PARTS[what])
        if parts:
            raise CNSError(
                f"The {what} wired in has parts that were replaced ({', '.join(parts)}): {_LOADER}, and sampling and prompt "
                "nodes after Apply CNS State."
            )
        options = _options_set(patcher)
        if options:
            raise CNSError(
                f"The {what} wired in was changed by another node, such as IPAdapter, FreeU or PAG ({', '.join(options)}), "
                f"which training would ignore: {_LOADER}, and that node after Apply CNS State."
            )
        check_plain(what, patcher.model.named_parameters())
    if clip.apply_hooks_to_conds:
        raise CNSError(f"The CLIP wired in carries hooks: {_LOADER}.")


def without_patches(clip: CLIP) -> CLIP:
    """As the checkpoint's file has it, below LoRAs and merges."""
    plain = clip.clone()
    plain.patcher.patches, plain.patcher.patches_uuid = {}, uuid.uuid4()  # the id tells ComfyUI to load the weights again
    return plain


def _check_prediction(model: ModelPatcher) -> None:
    """Raises CNSError where a node, or a loader's config, says that the checkpoint predicts something else than the noise."""
    found = model.get_model_object("model_sampling")
    # V_PREDICTION (and with it EDM) and X0 derive from EPS, but keep only how the noise is scaled.
    if not isinstance(found, sampling.EPS) or isinstance(found, (sampling.V_PREDICTION, sampling.X0)):
        raise CNSError(
            f"The MODEL wired in predicts {type(found).__bases__[-1].__name__}, but CNS trains with a loss that is right "
            "only for checkpoints that predict the noise (EPS): load such an SD 1.5 checkpoint, without a ModelSampling node "
            "before this one."
        )
    if getattr(found, "zsnr", False):
        raise CNSError(
            "The MODEL wired in has a noise schedule with zero terminal SNR (zsnr), but CNS trains on SD 1.5's own: load a "
            "checkpoint that uses it, without a ModelSampling node before this one."
        )


def _options_set(patcher: ModelPatcher) -> list[str]:
    """Names of what other nodes have set in a patcher's options, such as ``patches.attn2_patch``."""
    options = [item for item in patcher.model_options.items() if item[0] != "transformer_options"]
    options += patcher.model_options.get("transformer_options", {}).items()
    options += [("wrappers", patcher.wrappers), ("weight_wrappers", patcher.weight_wrapper_patches)]
    found = []
    for name, content in options:
        if isinstance(content, Mapping):
            found += [f"{name}.{inner}" for inner, value in content.items() if not _empty(value)]
        elif not _empty(content):
            found.append(name)
    return found


def _empty(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(_empty(inner) for inner in value.values())
    return value is None or value is False or (isinstance(value, (list, tuple)) and not value)
