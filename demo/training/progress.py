"""Resumable optimization: weights, optimizer and step in one safetensors file, written atomically."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

_SAVE_SECONDS, _PRINT_SECONDS = 120, 20


def one_cycle(step: int, steps: int, peak: float, warm_up: int = 200) -> float:
    """Learning rate: linear up to ``peak``, then a half cosine down to a hundredth of it."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    share = (step - warm_up) / max(1, steps - warm_up)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def save(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int, extra: dict[str, torch.Tensor]
) -> None:
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"extra.{name}": value for name, value in extra.items()}
    for index, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in entry.items()}
    unfinished = path.with_suffix(".tmp")
    save_file({name: value.contiguous() for name, value in tensors.items()}, unfinished, {"step": json.dumps(step)})
    os.replace(unfinished, path)


def load(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, dict[str, torch.Tensor]]:
    """Restores model and optimizer; returns the step and the extra tensors. Step 0 where there is no file."""
    if not path.is_file():
        return 0, {}
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        step = json.loads(file.metadata()["step"])
    model.load_state_dict({name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")})
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return step, {name.removeprefix("extra."): value for name, value in tensors.items() if name.startswith("extra.")}


def optimize(
    name: str,
    path: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    steps: int,
    peak: float,
    loss_of: Callable[[int], torch.Tensor],
    after: Callable[[int, dict[str, torch.Tensor]], dict[str, torch.Tensor]] = lambda step, extra: extra,
) -> dict[str, torch.Tensor]:
    """Runs up to ``steps`` from wherever ``path`` says. ``loss_of(step)`` must depend on the step alone, so that a resumed
    run equals an unbroken one. ``after`` may carry tensors along (an average of the weights, say); they are returned.
    """
    step, extra = load(path, model, optimizer)
    began, first, saved, shown, smooth = time.time(), step, time.time(), 0.0, None
    while step < steps:
        for group in optimizer.param_groups:
            group["lr"] = one_cycle(step, steps, peak)
        loss = loss_of(step)
        optimizer.zero_grad(set_to_none=True)
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
