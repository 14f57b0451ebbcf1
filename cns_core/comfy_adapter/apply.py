"""Puts a state into a MODEL and a CLIP."""

from __future__ import annotations

from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP

from ..errors import CNSError
from ..state import CNSState
from .checkpoint import inspect, weight_key
from .in_place import StatePatcher, carries_state
from .sparse_adapter import SparseDeltaAdapter
from .tokens import with_tokens


def apply_state(model: ModelPatcher, clip: CLIP, state: CNSState, strength: float) -> tuple[ModelPatcher, CLIP]:
    """MODEL with ``W0 + strength · delta`` and CLIP that knows the tokens; what came in stays as it was.

    Where the model's weights lie still and nothing else is patched onto them, the touched elements alone are written when it
    is loaded (:mod:`.in_place`); everywhere else the delta is a patch like a LoRA. Strength 0 leaves the weights alone.

    Raises:
        CNSError: another architecture or checkpoint, or a state is applied already.
    """
    _, layout, fingerprint = inspect(model, clip)
    layout.check_same(state.layout, "The state")
    fingerprint.check_same(state.fingerprint, "The state")
    if carries_state(model):
        raise CNSError("The MODEL wired in already carries a CNS state: apply one state only, it holds all its concepts.")
    taught = with_tokens(clip, state.tokens)
    if strength == 0.0:
        return model.clone(), taught
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
