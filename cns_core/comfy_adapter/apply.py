"""Puts a state into a MODEL and a CLIP."""

from __future__ import annotations

from collections.abc import Callable

import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from comfy.weight_adapter import WeightAdapterBase
from torch import Tensor

from ..errors import CNSError
from ..state import CNSState
from .checkpoint import inspect, weight_key
from .tokens import with_tokens


class SparseDeltaAdapter(WeightAdapterBase):
    """``W ← W + strength · delta`` at the touched weights; ``weights`` is [flat positions int64, delta float32].

    ComfyUI rebuilds adapters as ``type(a)(a.loaded_keys, a.weights)`` and hands a working copy of the weight over, so
    this composes with LoRAs before and after it, and unpatching restores the saved original.
    """

    name = "cns"

    def __init__(self, loaded_keys: set[str], weights: list[Tensor]) -> None:
        self.loaded_keys = loaded_keys
        self.weights = weights

    def calculate_weight(
        self,
        weight: Tensor,
        key: str,
        strength: float,
        strength_model: float,
        offset: object,
        function: Callable[[Tensor], Tensor],
        intermediate_dtype: torch.dtype = torch.float32,
        original_weight: object = None,
    ) -> Tensor:
        positions, delta = (tensor.to(weight.device) for tensor in self.weights)
        flat = weight.view(-1)
        flat[positions] = (flat[positions] + function(strength * delta)).to(weight.dtype)
        return weight


def carries_state(model: ModelPatcher) -> bool:
    """Whether Apply CNS State made this MODEL."""
    return any(isinstance(entry[1], SparseDeltaAdapter) for patches in model.patches.values() for entry in patches)


def apply_state(model: ModelPatcher, clip: CLIP, state: CNSState, strength: float) -> tuple[ModelPatcher, CLIP]:
    """MODEL with ``W0 + strength · delta`` and CLIP that knows the tokens; what came in stays as it was.

    Strength 0 leaves the MODEL's weights alone, bit for bit.

    Raises:
        CNSError: another architecture or checkpoint, or a state is applied already.
    """
    _, layout, fingerprint = inspect(model, clip)
    layout.check_same(state.layout, "The state")
    fingerprint.check_same(state.fingerprint, "The state")
    if carries_state(model):
        raise CNSError("The MODEL wired in already carries a CNS state: apply one state only, it holds all its concepts.")
    patched = model.clone()
    if strength != 0.0:
        patches = {
            weight_key(layer.name): SparseDeltaAdapter({weight_key(layer.name)}, [positions, values])
            for layer, positions, values in state.delta.layers()
        }
        taken = patched.add_patches(patches, strength)
        if len(taken) != len(patches):
            missing = sorted(set(patches) - set(taken))
            raise CNSError(
                f"The MODEL has no weight {missing[0]}, which the state changes: load the checkpoint it was made for."
            )
    return patched, with_tokens(clip, state.tokens)
