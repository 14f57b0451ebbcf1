"""Trains all the networks. A run may be stopped anywhere: weights, optimizer and step are in one file, written atomically."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from cns_core.atomic_write import replacing

from .optimizer import MuonWithAdam

_SAVE_SECONDS, _PRINT_SECONDS = 120, 20
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# Where the device computes in bfloat16; elsewhere it is emulated, or missing.
BFLOAT16 = DEVICE.type == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
torch.set_flush_denormal(True)  # the momentum of filters that died fades into numbers that take a CPU a hundred times as long


def mixed_precision() -> torch.autocast:
    """bfloat16 for operations that are safe in it."""
    return torch.autocast(DEVICE.type, torch.bfloat16, enabled=BFLOAT16)


def one_cycle(steps: int, peak: float, warm_up: int = 200) -> list[float]:
    """Learning rate of each step: linear up to ``peak``, then a half cosine down to a hundredth of it."""
    shares = [(step - warm_up) / max(1, steps - warm_up) for step in range(warm_up, steps)]
    rising = [peak * (step + 1) / warm_up for step in range(min(steps, warm_up))]
    return rising + [peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))) for share in shares]


def optimize(
    file: Path,
    model: nn.Module,
    rates: list[float],
    loss_of: Callable[[int], Tensor],
    adam_rate: float = 1.0,
    average: AveragedModel | None = None,
    averaged_from: int = 0,
) -> None:
    """Takes a step with each of the learning rates ``rates``, from wherever ``file`` says. ``loss_of(step)`` must depend on the
    step alone, so that a resumed run equals an unbroken one. ``average``: of the weights since step ``averaged_from``.
    """
    model.train().requires_grad_(True)
    optimizer = MuonWithAdam(model, adam_rate)
    kept = nn.ModuleDict({"model": model} | ({"average": average} if average else {}))
    first = _load(file, kept, optimizer)
    saved, smooth = time.monotonic(), None
    steps = tqdm(range(first, len(rates)), file.stem, len(rates), initial=first, mininterval=_PRINT_SECONDS)
    for step in steps:
        loss = loss_of(step)
        model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(rates[step])
        if average and step >= averaged_from:
            average.update_parameters(model)
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        steps.set_postfix(loss=smooth, refresh=False)
        if time.monotonic() - saved > _SAVE_SECONDS or step + 1 == len(rates):
            _save(file, kept, optimizer, step + 1)
            saved = time.monotonic()


def _save(file: Path, model: nn.Module, optimizer: MuonWithAdam, step: int) -> None:
    tensors = model.state_dict() | {f"optimizer.{name}": value for name, value in optimizer.state_dict().items()}
    with replacing(file) as unfinished:
        save_file({name: value.contiguous() for name, value in tensors.items()}, unfinished, {"step": str(step)})


def _load(file: Path, model: nn.Module, optimizer: MuonWithAdam) -> int:
    """Restores model and optimizer; returns the number of steps taken, 0 where there is no file."""
    if not file.is_file():
        return 0
    with safe_open(file, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a mapping)
        step = int(opened.metadata()["step"])
    of_optimizer = {name: tensors.pop(name) for name in list(tensors) if name.startswith("optimizer.")}
    optimizer.load_state_dict({name.removeprefix("optimizer."): value for name, value in of_optimizer.items()})
    model.load_state_dict(tensors)
    return step
