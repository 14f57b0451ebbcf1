"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to, beside ``path``, whose folder is made. The file moves to ``path`` at the end of the block.

    After an error ``path`` is as it was, and nothing else is left behind.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by tempfile, whose files nobody but the owner may read.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_whole(path: Path, blob: bytes) -> None:
    """Writes ``blob`` to ``path`` and waits until the disk has it.

    Raises:
        OSError: the folder cannot be written.
    """
    with whole_file(path) as unfinished, unfinished.open("xb") as file:
        file.write(blob)
        file.flush()
        os.fsync(file.fileno())
