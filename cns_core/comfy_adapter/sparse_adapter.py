"""A state's delta as a patch ComfyUI can combine with others, and how a MODEL is known to carry one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from comfy.model_patcher import ModelPatcher
from comfy.weight_adapter import WeightAdapterBase
from torch import Tensor

ATTACHMENT = "cns"  # under which a MODEL keeps the state that is written into its weights in place


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
    patched = any(isinstance(entry[1], SparseDeltaAdapter) for patches in model.patches.values() for entry in patches)
    return patched or model.get_attachment(ATTACHMENT) is not None
