"""What nodes show in the editor: pushed to every open page, and kept for pages that are opened or reloaded later."""

from __future__ import annotations

import time
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from .events import LIVE_EVENT
from .running_server import running_client, running_server

_SAMPLES = 50  # the newest of a training


@dataclass
class Live:
    """Something a node shows.

    ``node``: its execution id, like ``12:5`` inside a subgraph; ``workflow``: its workflow's id; ``client``: the page that
    queued it; ``number``: larger for later ones, across restarts of the server too.
    """

    kind: ClassVar[str]
    most: ClassVar[int]  # how many of a kind are kept

    node: str | None = None
    workflow: str | None = None
    client: str | None = field(default_factory=running_client)
    number: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    def show(self) -> None:
        """In place of what the same node has shown before."""
        others, place = _shown[self.kind], (self.workflow or self.client, self.node)
        others.pop(place, None)
        others[place] = self
        while len(others) > self.most:
            others.popitem(last=False)
        push(self.message())

    def message(self) -> dict[str, object]:
        """All of it, as JSON."""
        return {"kind": self.kind, **vars(self)}


@dataclass
class LiveState(Live):
    """``state`` as :func:`.state_record.state_record` gives it."""

    kind, most = "state", 256

    state: dict[str, object] = field(default_factory=dict)


@dataclass
class LiveTraining(Live):
    """``rows``: of each step done instance, prior and regularization loss, and the largest share by which K and V of
    what is held have moved; ``progress``: running, done or stopped;
    ``samples``: step, prompt and picture (a data URL) of the newest previews; ``seconds``: since the training began or was
    resumed, when ``earlier`` steps had been done.
    """

    kind, most = "training", 32

    steps: int = 0
    earlier: int = 0
    progress: str = "running"
    seconds: float = 0.0
    rows: list[list[float]] = field(default_factory=list)
    samples: list[dict[str, object]] = field(default_factory=list)

    def advance(self, rows: list[list[float]], seconds: float) -> None:
        first = len(self.rows)
        self.rows += [[float(f"{value:.5g}") for value in (*losses, moved)] for *losses, _, moved in rows]
        self.seconds = seconds
        push(self.message(first))

    def add_sample(self, step: int, prompt: str, picture: str) -> None:
        self.samples.append({"step": step, "prompt": prompt, "picture": picture})
        del self.samples[:-_SAMPLES]
        push(self.message(len(self.rows), self.samples[-1:]))

    def end(self, done: bool) -> None:
        """Call it after an error or Cancel too."""
        self.progress = "done" if done else "stopped"
        push(self.message(len(self.rows)))

    def message(self, first: int | None = None, samples: Sequence[dict[str, object]] = ()) -> dict[str, object]:
        """All of it, or the rows from ``first`` on and new samples."""
        if first is None:
            first, samples = 0, self.samples
        return {**super().message(), "rows": self.rows[first:], "first": first, "samples": list(samples)}


_shown: dict[str, OrderedDict[tuple[str | None, str | None], Live]] = defaultdict(OrderedDict)


def push(message: dict[str, object]) -> None:
    """To every open page."""
    if (server := running_server()) is not None:
        server.send_sync(LIVE_EVENT, message)


def shown() -> list[dict[str, object]]:
    """Everything that nodes show, the newest of each kind last."""
    return [live.message() for kind in list(_shown.values()) for live in list(kind.values())]
