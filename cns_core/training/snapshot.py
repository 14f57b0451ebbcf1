"""A training after some of its steps: all it takes to go on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Snapshot:
    """``steps``: done so far. ``tensors``: what has moved since the start, on the CPU, as ``part.name``."""

    steps: int
    tensors: Mapping[str, Tensor]


class Part(Protocol):
    """Something that changes while a training runs."""

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None: ...


def gathered(parts: Mapping[str, Part]) -> dict[str, Tensor]:
    """Copies on the CPU of all parts' states."""
    states = {name: part.state_dict() for name, part in parts.items()}
    return {f"{name}.{key}": value.detach().cpu().clone() for name, state in states.items() for key, value in state.items()}


def spread(tensors: Mapping[str, Tensor], parts: Mapping[str, Part]) -> None:
    """Gives each part its state back.

    Raises:
        KeyError: a part's state is missing.
        RuntimeError: it is of another size.
    """
    for name, part in parts.items():
        prefix = f"{name}."
        state = {key.removeprefix(prefix): value.clone() for key, value in tensors.items() if key.startswith(prefix)}
        part.load_state_dict(state)


class AdamState:
    """Moments and step counts of an Adam that has stepped all its parameters or none."""

    _NAMES = ("step", "exp_avg", "exp_avg_sq")

    def __init__(self, optimizer: torch.optim.Adam) -> None:
        self._optimizer = optimizer

    def state_dict(self) -> dict[str, Tensor]:
        states: dict[int, dict[str, Tensor]] = self._optimizer.state_dict()["state"]
        return {f"{number}.{name}": state[name] for number, state in states.items() for name in self._NAMES}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        numbers = sorted({int(key.partition(".")[0]) for key in state})
        states = {number: {name: state[f"{number}.{name}"] for name in self._NAMES} for number in numbers}
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": states})


class ScalerState:
    """A gradient scaler's scale and its number of good steps in a row; empty for one that is off."""

    def __init__(self, scaler: torch.amp.GradScaler) -> None:
        self._scaler = scaler

    def state_dict(self) -> dict[str, Tensor]:
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in self._scaler.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if self._scaler.is_enabled() and state:  # none where it was stopped in another precision
            whole = {"growth_interval", "_growth_tracker"}
            self._scaler.load_state_dict({k: int(v) if k in whole else float(v) for k, v in state.items()})
