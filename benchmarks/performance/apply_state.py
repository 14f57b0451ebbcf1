"""Switching between the plain model and states: written in place, and as ComfyUI's ordinary patches."""

from __future__ import annotations

from pathlib import Path

import comfy.model_management as memory
import comfy.model_patcher
import torch
from comfy.model_patcher import ModelPatcher
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.performance import host_vram
from benchmarks.performance.setting import open_checkpoint, random_state, seconds
from cns_core.comfy_adapter.apply.apply import apply_state
from cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint, weight_key
from cns_core.comfy_adapter.sparse_adapter import SparseDeltaAdapter
from cns_core.state import CNSState

_ROUNDS = 3


def measure(base: Path, dynamic: bool) -> dict[str, object]:
    """Of each switch first → second → none → first, seconds, the mean over three rounds, and bytes copied to the card, counted
    in a round of its own, as counting takes time; ``again`` is the same without a switch. Dynamic VRAM copies when a layer
    needs its weights: a pass of the UNet is in it. Without a card only its bytes are counted.
    """
    if not dynamic or _start_dynamic_vram():
        return _measured(open_checkpoint(base), dynamic)
    if torch.cuda.is_available() or not host_vram.AVAILABLE:
        return {}
    with host_vram.dynamic_vram():
        checkpoint = open_checkpoint(base, dtype=torch.float16)  # as on a card
        card = Checkpoint(host_vram.dynamic(checkpoint.model), checkpoint.clip, checkpoint.vae)
        return {**_measured(card, dynamic), "counted only": True}


def _measured(checkpoint: Checkpoint, dynamic: bool) -> dict[str, object]:
    with torch.inference_mode():
        first, second = (random_state(checkpoint, number) for number in (1, 2))
        _loaded(checkpoint.model, dynamic)
        before = {name: weight.clone() for name, weight in checkpoint.model.model.state_dict().items()}
        result: dict[str, object] = {"elements": first.delta.mask.count}
        for way, patched in {
            "in place": lambda state: apply_state(checkpoint, state, 1.0)[0],
            "patches": _patched(checkpoint),
        }.items():
            models = {"first": patched(first), "second": patched(second), "none": checkpoint.model}
            result[way] = _switches(models, dynamic)
        _loaded(checkpoint.model, dynamic)
        after = checkpoint.model.model.state_dict()
        result["bit-exact"] = all(torch.equal(weight, after[name]) for name, weight in before.items())
    return result


def _start_dynamic_vram() -> bool:
    """As ComfyUI's main.py does it."""
    if not torch.cuda.is_available() or not hasattr(comfy.model_patcher, "ModelPatcherDynamic"):
        return False
    from comfy import memory_management
    from comfy_aimdo import control

    control.init()
    memory_management.aimdo_enabled = control.init_devices([torch.cuda.current_device()])
    comfy.model_patcher.CoreModelPatcher = comfy.model_patcher.ModelPatcherDynamic
    return memory_management.aimdo_enabled


def _patched(checkpoint: Checkpoint):
    def patched(state: CNSState) -> ModelPatcher:
        model = checkpoint.model.clone()
        keys = ((weight_key(layer.name), [positions, values]) for layer, positions, values in state.delta.layers())
        model.add_patches({key: SparseDeltaAdapter({key}, weights) for key, weights in keys}, 1.0)
        return model

    return patched


def _switches(models: dict[str, ModelPatcher], dynamic: bool) -> dict[str, dict[str, float]]:
    switches = {"to second": "second", "to none": "none", "to first": "first", "again": "first"}
    measured: dict[str, dict[str, float]] = {switch: {"seconds": 0.0, "bytes": 0} for switch in switches}
    _loaded(models["first"], dynamic)
    for _ in range(_ROUNDS):
        for switch, name in switches.items():
            measured[switch]["seconds"] += seconds(lambda name=name: _loaded(models[name], dynamic)) / _ROUNDS
    for switch, name in switches.items():
        with host_vram.counted() if dynamic else _Copies() as copied:
            _loaded(models[name], dynamic)
        measured[switch]["bytes"] = copied.bytes
    return measured


def _loaded(model: ModelPatcher, dynamic: bool) -> None:
    memory.load_models_gpu([model])
    if not dynamic:
        return
    noise = torch.zeros(1, 4, 8, 8, device=model.load_device)
    model.model.apply_model(noise, noise.new_ones(1), c_crossattn=noise.new_zeros(1, 77, 768))
    model.cleanup()


class _Copies(TorchDispatchMode):
    """``bytes``: copied by torch from the CPU to a card."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten.copy_, torch.ops.aten._to_copy):
            source = args[1] if func.overloadpacket is torch.ops.aten.copy_ else args[0]
            self.bytes += result.nbytes * (source.device.type == "cpu" and result.device.type != "cpu")
        return result
