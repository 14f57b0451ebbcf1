"""Trainings as a page shows them: pushed while they run, and kept for pages that are opened or reloaded meanwhile."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from .events import TRAINING_EVENT
from .running_server import running_client, running_server

_REMEMBERED, _SAMPLES = 32, 50


@dataclass
class LiveTraining:
    """``rows``: instance, prior and regularization loss of each step done; ``state``: running, done or stopped;
    ``samples``: step, prompt and picture (a data URL) of the last previews.

    ``node``: the execution id of the node that trains, like ``12:5`` inside a subgraph; ``workflow``: the id of its workflow;
    ``client``: the page that queued it; ``number``: larger for later ones, over restarts of the server too.
    """

    steps: int
    node: str | None = None
    workflow: str | None = None
    client: str | None = None
    number: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    state: str = "running"
    seconds: float = 0.0
    rows: list[list[float]] = field(default_factory=list)
    samples: list[dict[str, object]] = field(default_factory=list)

    def begin(self) -> None:
        _trainings.append(self)
        self._send(0)

    def advance(self, rows: list[list[float]], seconds: float) -> None:
        first = len(self.rows)
        self.rows += [[float(f"{value:.5g}") for value in row[:3]] for row in rows]
        self.seconds = seconds
        self._send(first)

    def show(self, step: int, prompt: str, picture: str) -> None:
        self.samples.append({"step": step, "prompt": prompt, "picture": picture})
        del self.samples[:-_SAMPLES]
        self._send(len(self.rows), self.samples[-1:])

    def end(self, done: bool) -> None:
        """Call it after an error or Cancel too."""
        self.state = "done" if done else "stopped"
        self._send(len(self.rows))

    def _send(self, first: int, samples: Sequence[dict[str, object]] = ()) -> None:
        """The rows from ``first`` on, and new samples."""
        if (server := running_server()) is not None:
            server.send_sync(TRAINING_EVENT, self.message(first, samples))

    def message(self, first: int, samples: Sequence[dict[str, object]]) -> dict[str, object]:
        """As JSON, with the rows from ``first`` on."""
        return {**vars(self), "rows": self.rows[first:], "first": first, "samples": list(samples)}


_trainings: deque[LiveTraining] = deque(maxlen=_REMEMBERED)
_drawing_pages: deque[str] = deque(maxlen=64)


def page_draws_charts() -> bool:
    """Whether the page that queued the running prompt has said hello."""
    return running_client() in _drawing_pages


def remembered() -> list[dict[str, object]]:
    """All trainings whole, oldest first."""
    return [training.message(0, training.samples) for training in list(_trainings)]


def page_will_draw(client_id: str) -> None:
    """A page says hello: it draws charts itself."""
    if client_id in _drawing_pages:
        _drawing_pages.remove(client_id)  # one that comes and goes pushes no other page out
    _drawing_pages.append(client_id)
