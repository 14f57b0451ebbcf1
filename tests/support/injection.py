"""Does something at a chosen moment: at torch's n-th operation, or at the n-th line of a function."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

import torch
from torch.utils._python_dispatch import TorchDispatchMode

Action = Callable[[], None]


class Operations(TorchDispatchMode):
    """Counts torch's operations on this thread, in backward passes too.

    ``at``: the number, from 0, of the operation before which ``action`` is called; with ``lasting`` before every later one as
    well, as on a device that stays full. ``poison``: that operation gives NaN instead.
    """

    def __init__(self, at: int | None = None, action: Action | None = None, lasting: bool = False) -> None:
        super().__init__()
        self.done, self._at, self._action, self._lasting = 0, at, action, lasting

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        number, self.done = self.done, self.done + 1
        reached = self._at is not None and (number == self._at or (self._lasting and number > self._at))
        if reached and self._action is not None:
            self._action()
        result = func(*args, **(kwargs or {}))
        return _poisoned(func, result) if reached and self._action is None else result


def _poisoned(func, result):
    """NaN in place of a new tensor of floats; results that share memory with an operand stay, as they may be weights."""
    fresh = isinstance(result, torch.Tensor) and func._schema.returns[0].alias_info is None
    return torch.full_like(result, float("nan")) if fresh and result.is_floating_point() else result


class Stages(TorchDispatchMode):
    """Notes for each operation the stage it belongs to: that of the innermost running function named in ``names``."""

    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__()
        self.names, self.seen = names, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        frame = sys._getframe()
        while frame.f_code.co_name not in self.names:
            frame = frame.f_back
        self.seen.append(self.names[frame.f_code.co_name])
        return func(*args, **(kwargs or {}))


@contextmanager
def lines_of(functions: Sequence[Callable], at: int | None = None, action: Action | None = None) -> Iterator[list[int]]:
    """The lines of the functions that ran, in order; ``action`` is called before the ``at``-th of them, from 0."""
    codes = [inspect.unwrap(function).__code__ for function in functions]
    ran: list[int] = []

    def on_line(frame: FrameType, event: str, _: object):
        if event == "line":
            ran.append(frame.f_lineno)
            if len(ran) - 1 == at and action is not None:
                action()
        return on_line

    before = sys.gettrace()
    sys.settrace(lambda frame, _, __: on_line if frame.f_code in codes else None)
    try:
        yield ran
    finally:
        sys.settrace(before)


def spread(moments: list[int], count: int) -> list[int]:
    """At most ``count`` of the moments, evenly spread, the first and the last among them."""
    if len(moments) <= count:
        return moments
    return [moments[round(i * (len(moments) - 1) / (count - 1))] for i in range(count)]
