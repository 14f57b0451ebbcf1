"""Puts a state into a MODEL and a CLIP."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from torch import Tensor

from ...errors import CNSError
from ...state import CNSState
from ..checkpoint.checkpoint import Checkpoint, weight_key
from ..checkpoint.tokens import with_tokens
from ..sparse_adapter import SparseDeltaAdapter, carries_state
from .in_place import StatePatcher

_log = logging.getLogger(__name__)
_MOST_LOST = 0.5  # of a state's change to rounding; with more lost, pictures hardly show the concepts


def apply_state(checkpoint: Checkpoint, state: CNSState, strength: float) -> tuple[ModelPatcher, CLIP]:
    """MODEL with ``W0 + strength · delta`` and CLIP that knows the tokens; what came in stays as it was.

    Where the model's weights stay in place and nothing else patches them, only the touched elements are written when it
    is loaded (:mod:`.in_place`); everywhere else the delta is a patch like a LoRA. Strength 0 leaves the weights as they are.

    Raises:
        CNSError: another architecture, checkpoint, text encoder or CLIP skip, weights too coarse for the state's change, or a
            state is applied already.
    """
    model = checkpoint.model
    checkpoint.layout.check_same(state.layout, "The state")
    checkpoint.fingerprint.check_same(state.fingerprint, "The state")
    if state.fingerprint.unrecorded:
        _log.warning("The state applied does not record its %s: use those it was taught with.", state.fingerprint.unrecorded)
    if carries_state(model):
        raise CNSError("The MODEL wired in already carries a CNS state: apply one state only, it holds all its concepts.")
    taught = with_tokens(checkpoint.clip, state.tokens)
    if strength == 0.0:
        return model.clone(), taught
    _check_storage(checkpoint.weights, state, strength)
    adapters = {
        weight_key(layer.name): SparseDeltaAdapter({weight_key(layer.name)}, [positions, values])
        for layer, positions, values in state.delta.layers()
    }
    if StatePatcher.can_write(model, adapters):
        return StatePatcher.of(model, adapters, strength), taught
    patched = model.clone()
    taken = patched.add_patches(adapters, strength)
    if len(taken) != len(adapters):
        missing = sorted(set(adapters) - set(taken))
        raise CNSError(f"The MODEL has no weight {missing[0]}, which the state changes: load the checkpoint it was made for.")
    return patched, taught


def _check_storage(weights: Mapping[str, Tensor], state: CNSState, strength: float) -> None:
    """Raises CNSError where float8 storage would round most of the state's change away."""
    lost = changed = 0.0
    for layer, positions, values in state.delta.layers():
        weight = weights[layer.name]
        if weight.dtype.itemsize > 1:
            continue
        wanted = weight.float().flatten()[positions.to(weight.device)].cpu() + strength * values
        lost += float((wanted.to(weight.dtype).float() - wanted).square().sum())
        changed += float((strength * values).square().sum())
    share = (lost / changed) ** 0.5 if changed else 0.0
    if share > _MOST_LOST:
        raise CNSError(
            f"The MODEL wired in keeps its weights in float8, which is so coarse that {min(share, 1.0):.0%} of the state's "
            "change would be lost: load the checkpoint's float16 file with weight_dtype default, and start ComfyUI without "
            "--fp8_e4m3fn-unet or --fp8_e5m2-unet."
        )
