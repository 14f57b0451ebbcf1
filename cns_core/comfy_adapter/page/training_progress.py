"""What a person sees of a training while it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass

import comfy.utils
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ..side_effects import SideEffect, text_picture
from .live import LiveTraining
from .progress import Progress
from .training_preview import TrainingPreview, data_url

_FAILED_PREVIEW = (512, 512)  # pixels of the picture that says why there is none


@dataclass(frozen=True)
class Display:
    """Where a training is shown, and how: the node that works, as the page knows it, and how often it draws a preview."""

    node_id: str | None = None
    workflow_id: str | None = None
    preview_every: int = 0  # steps; 0 draws none
    preview_prompt: str = ""  # empty: photo of a <token> noun


class TrainingProgress:
    """Steps, losses, speed, time left and previews: on every page that is open, and in the console.

    The training goes on even if it cannot be shown; only Cancel stops it.
    """

    def __init__(self, steps: int, display: Display, label: str, preview: TrainingPreview) -> None:
        self._every, self._preview = display.preview_every, preview
        self._progress = Progress(steps, display.node_id)
        self._live = LiveTraining(display.node_id, display.workflow_id, steps=steps)
        self._on_page = SideEffect("The training could not be shown on the page")
        self._on_console = SideEffect("The training could not be shown in the console")
        self._previewing = SideEffect("The preview could not be drawn")
        self._console = self._console_bar(f"Teaching {label}", steps)
        self._started = time.perf_counter()
        with self._on_page:
            self._live.show()

    def after_step(self, step: int, token: Tensor) -> None:
        self._progress.advance()
        if not self._every or step % self._every:
            return
        picture, caption = self._draw(token)
        with self._on_page:
            self._live.add_sample(step, caption, data_url(picture))

    def resumed(self, step: int, rows: list[list[float]]) -> None:
        """The training goes on after so many steps, which are shown as if they had been done just now."""
        self._progress.skip(step)
        self._live.earlier = step
        self.report(step, rows)

    def report(self, step: int, rows: list[list[float]]) -> None:
        with self._on_page:
            self._live.advance(rows, time.perf_counter() - self._started)
        with self._on_console:
            self._console.set_postfix(loss=f"{rows[-1][0]:.4f}", prior=f"{rows[-1][1]:.4f}", refresh=False)
            self._console.update(step - self._console.n)

    def close(self, done: bool) -> None:
        with self._on_page:
            self._live.end(done)
        with self._on_console:
            self._console.close()

    def _console_bar(self, title: str, steps: int) -> tqdm:
        with self._on_console:
            return tqdm(total=steps, desc=title, disable=not comfy.utils.PROGRESS_BAR_ENABLED)
        return tqdm(total=steps, disable=True)

    def _draw(self, token: Tensor) -> tuple[Image.Image, str]:
        """The preview and its prompt, or what went wrong, as a picture and in words."""
        with self._previewing:
            return self._preview.draw(token), self._preview.prompt
        return text_picture(self._previewing.failure, *_FAILED_PREVIEW), self._previewing.failure
