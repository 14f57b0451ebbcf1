"""Where a training step's time goes: its parts, and how many operations the host starts for each."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.performance.setting import lesson, open_checkpoint, synchronize
from cns_core.comfy_adapter import teach as teaching
from cns_core.comfy_adapter.checkpoint.prompt_encoder import PromptEncoder
from cns_core.comfy_adapter.page.training_progress import Display
from cns_core.config import TrainConfig
from cns_core.training import run

PARTS = {
    "batch": (run, "draw_batch"),
    "text encoder": (PromptEncoder, "__call__"),
    "UNet forward": (teaching, "predict_noise"),
    "backward": (torch.Tensor, "backward"),
    "optimizer": (torch.amp.GradScaler, "step"),
    "writing": (run.TrainableKV, "write_weights"),
    "step": (run.TrainingRun, "step"),  # the whole
}
_WARM_UP, _STEPS = 2, 5


@torch.inference_mode()
def measure(base: Path, pixels: int) -> dict[str, dict[str, float]]:
    """Of each part: milliseconds until its work is done, and torch's operations, nested ones too."""
    checkpoint = open_checkpoint(base)
    config = TrainConfig(steps=_WARM_UP + _STEPS, resolution=pixels, gradient_checkpointing="off")
    taught = lesson(checkpoint, pixels)
    recorded = {name: _recorded(name, getattr(*where)) for name, where in PARTS.items()}
    predicting = teaching.predict_noise  # makes the function that the step calls
    recorded["UNet forward"] = lambda model: _recorded("UNet forward", predicting(model))
    with profile(activities=[ProfilerActivity.CPU]) as profiler, ExitStack() as replaced:
        for name, where in PARTS.items():
            replaced.enter_context(patch.object(*where, recorded[name]))
        teaching.teach(checkpoint, taught, config, Display())
    events = profiler.events()
    spans = {name: sorted((e for e in events if e.name == f"part {name}"), key=lambda e: e.time_range.start) for name in PARTS}
    return {name: _summary(found[_WARM_UP:], events) for name, found in spans.items()}


def _recorded(name: str, function):
    def recorded(*arguments, **more):
        with record_function(f"part {name}"):
            result = function(*arguments, **more)
            synchronize()
        return result

    return recorded


def _summary(spans: list, events: list) -> dict[str, float]:
    started = [e.time_range.start for e in events if e.name.startswith("aten::")]
    inside = sum(any(s.time_range.start <= t <= s.time_range.end for s in spans) for t in started)
    taken = sum(s.time_range.end - s.time_range.start for s in spans)
    return {"ms": taken / 1000 / max(len(spans), 1), "operations": inside / max(len(spans), 1)}
