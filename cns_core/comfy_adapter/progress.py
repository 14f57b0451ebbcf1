"""ComfyUI's progress bar, progress text and Cancel button."""

from __future__ import annotations

import time

import comfy.model_management
import comfy.utils
from server import PromptServer
from tqdm import tqdm


class Progress:
    """Counts ``total`` units of one node's work; every call obeys Cancel."""

    def __init__(self, total: int, node_id: str | None) -> None:
        self._bar = comfy.utils.ProgressBar(total, node_id=node_id)
        self._node_id = node_id
        self._done = 0

    def advance(self, *_: object) -> None:
        self._done += 1
        self._bar.update_absolute(self._done)
        check_cancelled()

    def text(self, text: str) -> None:
        """A line of text in the node."""
        if self._node_id is not None and PromptServer.instance is not None:
            PromptServer.instance.send_progress_text(text, self._node_id)


class TrainingProgress:
    """Steps, loss, speed and time left, in the node and in the console."""

    def __init__(self, steps: int, node_id: str | None, label: str) -> None:
        self._steps = steps
        self._progress = Progress(steps, node_id)
        self._console = tqdm(total=steps, desc=f"Teaching {label}", disable=not comfy.utils.PROGRESS_BAR_ENABLED)
        self._started = time.perf_counter()
        self._done = 0

    def before_step(self) -> None:
        check_cancelled()
        if self._done:
            self._progress.advance()
        self._done += 1

    def report(self, step: int, losses: list[float]) -> None:
        speed = step / (time.perf_counter() - self._started)
        left = (self._steps - step) / speed
        instance, prior, regularization, _ = losses
        self._progress.text(
            f"step {step}/{self._steps}  loss {instance:.4f}  prior {prior:.4f}  keep {regularization:.2e}  "
            f"{speed:.2f} it/s  {int(left) // 60}:{int(left) % 60:02d} left"
        )
        self._console.set_postfix(loss=f"{instance:.4f}", prior=f"{prior:.4f}", refresh=False)
        self._console.update(step - self._console.n)
        if step == self._steps:
            self._progress.advance()

    def close(self) -> None:
        self._console.close()


def check_cancelled() -> None:
    """Raises ComfyUI's interruption where the user pressed Cancel."""
    comfy.model_management.throw_exception_if_processing_interrupted()
