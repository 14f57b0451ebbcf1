"""Resumable optimization: weights, optimizer and step in one safetensors file, written atomically."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cns_core.atomic_write import replacing

from .optimizer import MuonWithAdam

_SAVE_SECONDS, _PRINT_SECONDS = 120, 20
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # where all stages train
# Where the device computes in bfloat16; elsewhere it is emulated, or missing.
BFLOAT16 = DEVICE.type == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
torch.set_flush_denormal(True)  # the momentum of filters that died fades into numbers that take a CPU a hundred times as long


def mixed_precision() -> torch.autocast:
    """bfloat16 for operations that are safe in it."""
    return torch.autocast(DEVICE.type, torch.bfloat16, enabled=BFLOAT16)


def one_cycle(step: int, steps: int, peak: float, warm_up: int = 200) -> float:
    """Learning rate: linear up to ``peak``, then a half cosine down to a hundredth of it."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    share = (step - warm_up) / max(1, steps - warm_up)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def save(path: Path, model: torch.nn.Module, optimizer: MuonWithAdam, step: int, extra: dict[str, torch.Tensor]) -> None:
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"extra.{name}": value for name, value in extra.items()}
    tensors |= {f"optimizer.{name}": value for name, value in optimizer.state()}
    with replacing(path) as unfinished:
        save_file({name: value.contiguous() for name, value in tensors.items()}, unfinished, {"step": json.dumps(step)})


def load(path: Path, model: torch.nn.Module, optimizer: MuonWithAdam) -> tuple[int, dict[str, torch.Tensor]]:
    """Restores model and optimizer; returns the step and the extra tensors. Step 0 where there is no file."""
    if not path.is_file():
        return 0, {}
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        step = json.loads(file.metadata()["step"])

    def under(prefix: str) -> dict[str, torch.Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    model.load_state_dict(under("model."))
    optimizer.restore(under("optimizer."))
    return step, {name: value.to(DEVICE) for name, value in under("extra.").items()}


def optimize(
    name: str,
    path: Path,
    model: torch.nn.Module,
    optimizer: MuonWithAdam,
    steps: int,
    rate_at: Callable[[int], float],
    loss_of: Callable[[int], torch.Tensor],
    after: Callable[[int, dict[str, torch.Tensor]], dict[str, torch.Tensor]] = lambda step, extra: extra,
) -> dict[str, torch.Tensor]:
    """Takes ``steps`` steps in all, from wherever ``path`` says; ``rate_at`` gives a step's learning rate. ``loss_of(step)``
    must depend on the step alone, so that a resumed run equals an unbroken one. ``after`` may carry tensors along (an average
    of the weights, say); they are returned.
    """
    step, extra = load(path, model, optimizer)
    began, first, saved, shown, smooth = time.time(), step, time.time(), 0.0, None
    while step < steps:
        optimizer.set_learning_rate(rate_at(step))
        loss = loss_of(step)
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        extra = after(step, extra)
        step += 1
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        now = time.time()
        if now - shown > _PRINT_SECONDS or step == steps:
            rate = (step - first) / (now - began)
            print(
                f"{name} {step}/{steps}  loss {smooth:.4f}  {rate:.2f} it/s  {(steps - step) / rate / 60:.0f} min left",
                flush=True,
            )
            shown = now
        if now - saved > _SAVE_SECONDS or step == steps:
            save(path, model, optimizer, step, extra)
            saved = now
    return extra
