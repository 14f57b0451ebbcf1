"""What was made once is read again: states, pictures and scores, each in a file that is whole at any moment."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cns_core.atomic_write import replacing
from cns_core.state import CNSState
from cns_core.state_file import load_state, save_state


class Scores:
    """What was measured, plain JSON values by name. Their file is written with the first of them; it begins with ``about``,
    what they are of.
    """

    def __init__(self, path: Path, **about: object) -> None:
        self.path = path
        self.known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else about

    def of(self, name: str, compute: Callable[[], Any]) -> Any:
        if name not in self.known:
            self.known[name] = compute()
            with replacing(self.path) as unfinished:
                unfinished.write_text(json.dumps(self.known, indent=0), encoding="utf-8")
        return self.known[name]


def kept_state(file: Path, teach: Callable[[], CNSState]) -> CNSState:
    """As its file has it, also where it was taught now."""
    if not file.is_file():
        save_state(teach(), file)
    return load_state(file)


def kept(file: Path, draw: Callable[[], np.ndarray]) -> np.ndarray:
    """What ``draw`` gives, from ``file`` where it was drawn before."""
    if not file.is_file():
        drawn = draw()  # another worker may be drawing the same
        with replacing(file) as unfinished, unfinished.open("wb") as stream:
            np.savez_compressed(stream, drawn=drawn)
    with np.load(file) as archive:
        return archive["drawn"]
