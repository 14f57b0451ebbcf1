"""Atomic writes: a file is either complete or not there."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.\d+\.[0-9a-f]{8}\.tmp")  # .<file>.<process>.<random>.tmp
_STALE = 3600  # seconds after which nobody is still writing a temporary file


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives the block a path to write to; what it wrote becomes ``path`` when the block ends, and is removed when it raises.

    Temporary files that killed processes left in the folder are removed too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by tempfile, whose files nobody but the owner may read.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
            now = os.fstat(file.fileno()).st_mtime  # by the clock of the disk's computer
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _remove_stale(path.parent, now)


def _remove_stale(folder: Path, now: float) -> None:
    """Removes temporary files that are so old that their processes must have been killed.

    By their age, as the numbers of processes say nothing about those of another container or computer.
    """
    with contextlib.suppress(OSError):  # the file is written even if these fail
        for path in folder.iterdir():
            if _TEMPORARY.fullmatch(path.name) and path.stat().st_mtime < now - _STALE:
                path.unlink()
