"""What of a delta is left when it is added to weights that are stored in 16 bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import comfy.utils
import torch
from torch import Tensor

from cns_core.calibration import shipped_prompts
from cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from cns_core.comfy_adapter.checkpoint.conditioning import encode_all
from demo.model import load_demo_model

SIZES = (1e-5, 1e-4, 1e-3, 1e-2)  # mean of a delta over the mean of the weights; 500 steps at 3e-5 move SD-1.5's by about 1e-2
DIGITS = {torch.float16: 10, torch.bfloat16: 7}  # of the mantissa
_SHARE = 0.05


@torch.inference_mode()
def measure(base: Path) -> list[dict[str, object]]:
    """For each storage type, rounding and size of delta: share of weights that do not change at all, and the error of the
    change of K and V, relative to the exact change, over ordinary prompts.
    """
    comfy.utils.set_progress_bar_enabled(False)
    checkpoint = Checkpoint(*load_demo_model())
    weights = checkpoint.weights
    features = torch.cat(encode_all(checkpoint.clip, shipped_prompts()[:10]))
    rows: list[dict[str, object]] = []
    for dtype in DIGITS:
        for title, rounding in ROUNDINGS.items():
            for size in SIZES:
                lost, error = _loss(weights, features, dtype, rounding, size)
                rows.append({"stored as": str(dtype).removeprefix("torch."), "rounding": title, "size": size})
                rows[-1] |= {"unchanged": lost, "error": error}
    return rows


def _loss(
    weights: dict[str, Tensor], features: Tensor, dtype: torch.dtype, rounding: Callable, size: float
) -> tuple[float, float]:
    generator, unchanged, count = torch.Generator().manual_seed(0), 0, 0
    wrong, right = torch.zeros(()), torch.zeros(())
    for weight in weights.values():
        stored = weight.to(dtype).float()
        chosen = torch.rand(stored.shape, generator=generator) < _SHARE
        delta = torch.randn(stored.shape, generator=generator) * (size * stored.abs().mean()) * chosen
        got = rounding(stored + delta, dtype, generator) - stored
        unchanged += int(((got == 0) & chosen).sum())
        count += int(chosen.sum())
        wrong += (features @ (got - delta).T).square().sum()
        right += (features @ delta.T).square().sum()
    return unchanged / count, (wrong / right).sqrt().item()


def _nearest(values: Tensor, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    return values.to(dtype).float()


def _stochastic(values: Tensor, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Up or down with the probability that makes the mean right."""
    _, exponent = torch.frexp(values)
    ulp = torch.ldexp(torch.ones_like(values), exponent - 1 - DIGITS[dtype])
    return ((values / ulp) + torch.rand(values.shape, generator=generator)).floor() * ulp


ROUNDINGS = {"nearest": _nearest, "stochastic": _stochastic}
