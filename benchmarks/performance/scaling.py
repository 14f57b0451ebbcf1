"""What one more concept costs when there are many already."""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from pathlib import Path

import comfy.model_management as memory
import torch

from benchmarks.performance.setting import lesson, open_checkpoint, seconds, set_up_and_step, with_random_concept
from cns_core.calibration import shipped_prompts
from cns_core.comfy_adapter.apply.apply import apply_state
from cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from cns_core.comfy_adapter.checkpoint.conditioning import encode_all
from cns_core.comfy_adapter.page.training_progress import Display
from cns_core.comfy_adapter.teach import teach
from cns_core.config import SelectionConfig, TrainConfig
from cns_core.scoring import common_mask
from cns_core.state import CNSState
from cns_core.state_file import load_state, save_state

COUNTS = (1, 2, 5, 10, 20, 50)


@torch.inference_mode()
def measure(base: Path, pixels: int, steps: int) -> list[dict[str, float]]:
    """For 1 … 50 concepts in the state: share of K/V ever used, bytes of the file with its history and without, seconds to
    save, load, apply, and of a step of the next concept with L_reg and the keep term.
    """
    checkpoint = open_checkpoint(base)
    encoded = encode_all(checkpoint.clip, shipped_prompts())
    share = SelectionConfig.top_fraction
    general = common_mask(checkpoint.weights, encoded[:20], share)
    first = lesson(checkpoint, pixels)
    state, rows, rng = CNSState.empty(checkpoint.layout, checkpoint.fingerprint), [], random.Random(0)

    def train(count: int) -> None:
        config = TrainConfig(steps=count, resolution=pixels, gradient_checkpointing="off")
        teach(checkpoint, replace(first, previous=state), config, Display())

    for number in range(1, max(COUNTS) + 1):
        captions = rng.sample(encoded, 5)
        mask = common_mask(checkpoint.weights, captions, share).without(general)
        state = with_random_concept(state, mask, number)
        if number in COUNTS:
            rows.append({"concepts": number, **_costs(checkpoint, state)})
            rows[-1]["set-up"], rows[-1]["step"] = set_up_and_step(train, steps)
            print(rows[-1])
    return rows


def _costs(checkpoint: Checkpoint, state: CNSState) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.safetensors"
        saving, loading = seconds(lambda: save_state(state, path)), seconds(lambda: load_state(path))
        size = path.stat().st_size
        save_state(state.without_history(), path)
        without_history = path.stat().st_size
    applied = apply_state(checkpoint, state, 1.0)[0]
    memory.load_models_gpu([checkpoint.model])
    writing = seconds(lambda: memory.load_models_gpu([applied]))
    return {
        "used": state.used_neurons().share,
        "bytes": size,
        "bytes without history": without_history,
        "save": saving,
        "load": loading,
        "apply": writing,
    }
