"""Between pictures as bytes and pictures as a network reads them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def as_input(pixels: np.ndarray) -> Tensor:
    """uint8 (b, h, w, 3) -> float32 (b, 3, h, w) in -1..1."""
    return torch.from_numpy(pixels.astype(np.float32)).movedim(-1, 1) / 127.5 - 1


def as_pixels(values: Tensor) -> np.ndarray:
    """float (b, 3, h, w) in -1..1 -> uint8 (b, h, w, 3)."""
    return ((values.clamp(-1, 1) + 1) * 127.5).round().byte().movedim(1, -1).numpy()
