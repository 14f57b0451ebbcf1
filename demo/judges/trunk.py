"""The convolutional trunk both judges have; each trains its own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

FEATURES = 128


def as_input(pixels: np.ndarray) -> Tensor:
    """uint8 (b, h, w, 3) -> float32 (b, 3, h, w) in -1..1."""
    return torch.from_numpy(pixels.astype(np.float32)).movedim(-1, 1) / 127.5 - 1


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


def _down(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride=2, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Trunk(nn.Sequential):
    """(b, 3, 128, 128) in -1..1 -> (b, FEATURES, 8, 8). Half the size shows all there is to judge."""

    def __init__(self) -> None:
        super().__init__(
            nn.AvgPool2d(2),
            _down(3, 32, 5),
            _Residual(32),
            _down(32, 64, 3),
            _Residual(64),
            _down(64, FEATURES, 3),
            _Residual(FEATURES),
            _Residual(FEATURES),
        )
