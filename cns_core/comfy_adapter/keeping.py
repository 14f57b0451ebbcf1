"""What a training leaves beside its result: the state after chosen steps, and what a stopped one had reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from ..errors import CNSError
from ..state import CNSState
from ..training import Snapshot, TrainingResult
from .autosave import save_after_training
from .page.training_progress import TrainingProgress
from .side_effects import SideEffect
from .unfinished import Unfinished


@dataclass(frozen=True)
class Keeping:
    """``steps``: after these the state is saved as well. ``cancelled``: a training that is stopped is kept, and one that was
    kept goes on. ``lines``: what came of it, for people.
    """

    steps: frozenset[int] = frozenset()
    cancelled: bool = False
    lines: list[str] = field(default_factory=list)


def parse_steps(text: str, last: int) -> frozenset[int]:
    """``100, 300`` -> the numbers.

    Raises:
        CNSError: something else in the text, or a number that is not from 1 to ``last``.
    """
    numbers = text.replace(",", " ").split()
    wrong = [number for number in numbers if not (number.isascii() and number.isdecimal() and 1 <= int(number) <= last)]
    if wrong:
        raise CNSError(f"keep_steps is '{text.strip()}', but it must be numbers from 1 to steps ({last}), such as 100, 300.")
    return frozenset(map(int, numbers))


class Keeper:
    """Keeps what one training reaches. A file that cannot be written costs the training nothing.

    ``steps``: after these it wants to. ``snapshot``: where to go on; None: at the beginning.
    """

    def __init__(
        self, keeping: Keeping, unfinished: Unfinished | None, learned: Callable[[TrainingResult], CNSState], steps: int
    ) -> None:
        """``unfinished``: the file of a training that is kept when it is stopped. ``learned``: the state with what the training
        has reached. ``steps``: how many it is to have.

        Raises:
            CNSError: see :meth:`.unfinished.Unfinished.load`.
        """
        self.steps = keeping.steps
        self._keeping, self._unfinished, self._learned = keeping, unfinished, learned
        self.snapshot = unfinished.load(steps) if unfinished else None
        if self.snapshot is not None:
            keeping.lines.append(f"resumed after step {self.snapshot.steps}, where it had been stopped")

    def keep(self, result: TrainingResult) -> None:
        step = len(result.history)
        with SideEffect(f"The state after step {step} was not saved") as saving:
            path = save_after_training(self._learned(result), f"step{step}")
            self._keeping.lines.append(f"the state after step {step} was saved as `{path}`")
        if saving.failure:
            self._keeping.lines.append(saving.failure)

    def stopped(self, snapshot: Callable[[], Snapshot | None]) -> None:
        if self._unfinished is None:
            return
        with SideEffect("The progress of the stopped training was not kept"):
            progress = snapshot()
            if progress is not None:
                self._unfinished.save(progress)

    def finished(self) -> None:
        if self._unfinished is not None:
            with SideEffect("The file with the training's earlier progress was not removed"):
                self._unfinished.remove()


class Watcher:
    """Shows a training and keeps what it reaches: an :class:`..training.Observer`."""

    def __init__(self, progress: TrainingProgress, keeper: Keeper) -> None:
        self.kept_steps = keeper.steps
        self._progress, self._keeper = progress, keeper

    def after_step(self, step: int, token: Tensor) -> None:
        self._progress.after_step(step, token)

    def report(self, step: int, rows: list[list[float]]) -> None:
        self._progress.report(step, rows)

    def resumed(self, step: int, rows: list[list[float]]) -> None:
        self._progress.resumed(step, rows)

    def keep(self, result: TrainingResult) -> None:
        self._keeper.keep(result)

    def stopped(self, snapshot: Callable[[], Snapshot | None]) -> None:
        self._keeper.stopped(snapshot)
