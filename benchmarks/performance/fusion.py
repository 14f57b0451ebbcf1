"""Makes one set of K/V matrices of seven concepts', at SD 1.5's size; time and memory do not depend on the values."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.baselines import METHODS
from benchmarks.performance.setting import peak_resident_memory, seconds

_WIDTH, _ROWS, _ORDINARY = 768, 7, 2_000  # text features; of a concept; of 200 prompts
_BLOCKS = {320: 5, 640: 5, 1280: 6}  # SD 1.5's cross-attention blocks by their width, with K and V each


def measure(base: Path, method: str) -> dict[str, object]:
    """On the CPU, also where there is a GPU. ``memory``: bytes beside the pretrained weights, the concepts' own included."""
    how, generator = METHODS[method], torch.Generator().manual_seed(0)
    assert how.fuse is not None
    fuse = how.fuse

    def random(rows: int) -> torch.Tensor:
        return torch.randn(rows, _WIDTH, generator=generator)

    pretrained = [random(width) for width, count in _BLOCKS.items() for _ in range(2 * count)]
    before = peak_resident_memory()
    tuned = [[weight + 0.01 * random(len(weight)) for _ in range(7)] for weight in pretrained]
    features, ordinary = [random(_ROWS) for _ in range(7)], random(_ORDINARY)

    def fuse_all() -> None:
        for weight, own in zip(pretrained, tuned, strict=True):
            fuse(weight, own, features, ordinary)

    return {"title": how.title, "time": seconds(fuse_all), "memory": peak_resident_memory() - before}
