"""Puts a state into a MODEL and a CLIP."""

from __future__ import annotations

import logging

from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP

from ...errors import CNSError
from ...state import CNSState
from ..checkpoint.checkpoint import Checkpoint, weight_key
from ..checkpoint.checks import check_storage
from ..checkpoint.tokens import with_tokens
from ..sparse_adapter import SparseDeltaAdapter, carries_state
from .in_place import StatePatcher

_log = logging.getLogger(__name__)


def apply_state(checkpoint: Checkpoint, state: CNSState, strength: float) -> tuple[ModelPatcher, CLIP]:
    """MODEL with ``W0 + strength · delta`` and CLIP that knows the tokens; what came in stays as it was.

    The state is written in place when the model is loaded (:mod:`.in_place`), or is a patch like a LoRA where that cannot be
    and with a LoRA after it. Strength 0 leaves the weights as they are.

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
        raise CNSError("The MODEL wired in already carries a CNS state: apply only one; a state holds all its concepts.")
    taught = with_tokens(checkpoint.clip, state.tokens)
    if strength == 0.0:
        return model.clone(), taught
    check_storage(checkpoint.weights)
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
