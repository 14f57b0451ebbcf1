"""What a person sees of a training while it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass

import comfy.utils
from torch import Tensor
from tqdm import tqdm

from .chart_preview import chart
from .live_training import LiveTraining, page_draws_charts, running_server
from .progress import Progress
from .training_preview import TrainingPreview, data_url

_PREVIEW_SECONDS = 2.0


@dataclass(frozen=True)
class Display:
    """Where a training is shown, and how: the node that works, as the page knows it, and pictures every so many steps."""

    node_id: str | None = None
    workflow_id: str | None = None
    preview_every: int = 0  # steps; 0 draws none
    preview_prompt: str = ""  # empty: photo of a <token> noun


class TrainingProgress:
    """Steps, losses, speed, time left and previews: on every page that is open, and in the console."""

    def __init__(self, steps: int, display: Display, label: str, preview: TrainingPreview) -> None:
        self._steps = steps
        self._every, self._preview = display.preview_every, preview
        self._progress = Progress(steps, display.node_id)
        self._live = LiveTraining(steps, display.node_id, display.workflow_id, _client())
        self._console = tqdm(total=steps, desc=f"Teaching {label}", disable=not comfy.utils.PROGRESS_BAR_ENABLED)
        self._started = self._drawn = time.perf_counter()
        self._live.begin()

    def after_step(self, step: int, token: Tensor) -> None:
        self._progress.advance()
        if not self._every or step % self._every:
            return
        picture = self._preview.draw(token)
        self._live.show(step, self._preview.prompt, data_url(picture))
        if not page_draws_charts():
            self._progress.show(picture)
            self._drawn = time.perf_counter()

    def report(self, step: int, rows: list[list[float]]) -> None:
        now = time.perf_counter()
        speed = step / (now - self._started)
        left = (self._steps - step) / speed
        instance, prior, regularization, _ = rows[-1]
        self._live.advance(rows, now - self._started)
        if not page_draws_charts():
            self._progress.text(
                f"step {step}/{self._steps}  loss {instance:.4f}  prior {prior:.4f}  keep {regularization:.2e}  "
                f"{speed:.2f} it/s  {int(left) // 60}:{int(left) % 60:02d} left"
            )
            if now - self._drawn > _PREVIEW_SECONDS:
                self._progress.show(chart(self._live.rows, self._steps, f"step {step} of {self._steps}, loss {instance:.4f}"))
                self._drawn = now
        self._console.set_postfix(loss=f"{instance:.4f}", prior=f"{prior:.4f}", refresh=False)
        self._console.update(step - self._console.n)

    def close(self, done: bool) -> None:
        self._live.end(done)
        self._console.close()


def _client() -> str | None:
    """The page whose prompt is running."""
    server = running_server()
    return None if server is None else server.client_id
