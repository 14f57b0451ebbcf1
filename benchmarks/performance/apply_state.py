"""Switching between the plain model and states: written in place, and as ComfyUI's ordinary patches."""

from __future__ import annotations

from pathlib import Path

import comfy.model_management as memory
import torch
from comfy.model_patcher import ModelPatcher

from benchmarks.performance.setting import open_checkpoint, seconds
from benchmarks.performance.states import random_states
from cns_core.comfy_adapter.apply.apply import apply_state
from cns_core.comfy_adapter.apply.in_place import StatePatcher
from cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint, weight_key
from cns_core.comfy_adapter.sparse_adapter import SparseDeltaAdapter
from cns_core.state import CNSState


def measure(base: Path, rounds: int = 3) -> dict[str, object]:
    """Seconds of each switch first → second → none → first, means over ``rounds``; were the weights the same afterwards?"""
    checkpoint = open_checkpoint(base)
    with torch.inference_mode():
        first, second = random_states(checkpoint, 2, 0.05)
        memory.load_models_gpu([checkpoint.model])
        before = {name: weight.clone() for name, weight in checkpoint.model.model.state_dict().items()}
        pointers = [weight.data_ptr() for weight in checkpoint.model.model.state_dict().values()]
        ours = {"first": _in_place(checkpoint, first), "second": _in_place(checkpoint, second), "none": checkpoint.model}
        result: dict[str, object] = {"elements": first.delta.mask.count, "in place": _switch(ours, rounds)}
        result["same storage"] = pointers == [weight.data_ptr() for weight in checkpoint.model.model.state_dict().values()]
        theirs = {"first": _patched(checkpoint, first), "second": _patched(checkpoint, second), "none": checkpoint.model}
        result["patches"] = _switch(theirs, rounds)
        memory.load_models_gpu([checkpoint.model])
        after = checkpoint.model.model.state_dict()
        result["bit-exact"] = all(torch.equal(weight, after[name]) for name, weight in before.items())
    return result


def _in_place(checkpoint: Checkpoint, state: CNSState) -> ModelPatcher:
    model = apply_state(checkpoint, state, 1.0)[0]
    if not isinstance(model, StatePatcher):
        raise SystemExit("This ComfyUI loads models dynamically: nothing is written in place here.")
    return model


def _patched(checkpoint: Checkpoint, state: CNSState) -> ModelPatcher:
    model = checkpoint.model.clone()
    adapters = {
        weight_key(layer.name): SparseDeltaAdapter({weight_key(layer.name)}, [positions, values])
        for layer, positions, values in state.delta.layers()
    }
    model.add_patches(adapters, 1.0)
    return model


def _switch(models: dict[str, ModelPatcher], rounds: int) -> dict[str, float]:
    durations: dict[str, list[float]] = {name: [] for name in models}
    memory.load_models_gpu([models["first"]])
    for _ in range(rounds):
        for name in ("second", "none", "first"):
            durations[name].append(seconds(lambda name=name: memory.load_models_gpu([models[name]])))
    return {f"to {name}": sum(values) / len(values) for name, values in durations.items()}
