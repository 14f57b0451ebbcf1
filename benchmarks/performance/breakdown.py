"""Where a training step's time goes: its parts, and how many operations the host starts for each."""

from __future__ import annotations

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
}


@torch.inference_mode()
def measure(base: Path, pixels: int, steps: int = 5) -> dict[str, dict[str, float]]:
    """Of each part, and of the whole step: milliseconds until its work is done, and torch's operations, nested ones too."""
    checkpoint = open_checkpoint(base)
    taught, config = lesson(checkpoint, pixels), TrainConfig(steps=steps + 2, resolution=pixels, gradient_checkpointing="off")
    whole = {"step": (run.TrainingRun, "step")}
    patches = [patch.object(*where, _recorded(name, getattr(*where))) for name, where in (PARTS | whole).items()]
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for each in patches:
            each.start()
        teaching.teach(checkpoint, taught, config, Display())
        for each in patches:
            each.stop()
    events = profiler.events()
    spans = {
        name: sorted((e for e in events if e.name == f"part {name}"), key=lambda e: e.time_range.start)
        for name in PARTS | whole
    }
    return {name: _summary(found[2:], events) for name, found in spans.items()}  # the first two steps warm up


def _recorded(name: str, function):
    if name == "UNet forward":
        return lambda model: _recorded("UNet", function(model))

    def recorded(*arguments, **more):
        with record_function(f"part {'UNet forward' if name == 'UNet' else name}"):
            result = function(*arguments, **more)
            synchronize()
        return result

    return recorded


def _summary(spans: list, events: list) -> dict[str, float]:
    started = [e.time_range.start for e in events if e.name.startswith("aten::")]
    inside = sum(any(s.time_range.start <= t <= s.time_range.end for s in spans) for t in started)
    taken = sum(s.time_range.end - s.time_range.start for s in spans)
    return {"ms": taken / 1000 / max(len(spans), 1), "operations": inside / max(len(spans), 1)}
