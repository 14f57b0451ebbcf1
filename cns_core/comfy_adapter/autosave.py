"""States that save themselves after each concept, below ``output/cns/autosave``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import folder_paths

from ..state import CNSState
from ..state_file import lineage_of, read_lineage, save_state
from .file_names import plain
from .folders import AUTOSAVES, STATES, SUFFIX
from .side_effects import SideEffect

KEPT = 5  # states of a sequence: the newest, and those it was taught on
_OWN = re.compile(r"_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(_\d+)?$")  # as _free_path names them
_LONGEST = 48  # characters of a name before its date; file systems allow 255 bytes in all


def folder() -> Path:
    """Where states save themselves."""
    return Path(folder_paths.get_output_directory(), STATES, AUTOSAVES)


def save_after_training(state: CNSState, note: str = "") -> Path:
    """Writes the state, unless a file already holds it, and removes files that are superseded. Returns the state's file.

    ``note``: part of its name, such as ``step300``.

    Raises:
        CNSError: the folder cannot be written.
    """
    lineage, saved = lineage_of(state), _lineages(folder())
    for path, other in saved.items():
        if other == lineage:
            return path
    path = _free_path(title([concept.name for concept in state.concepts]) + (f"_{note}" if note else ""))
    save_state(state, path)
    for old in superseded({**saved, path: lineage}) - {path}:
        if not _OWN.search(old.stem):
            continue  # somebody gave it a name without a date, or put it there, to keep it
        with contextlib.suppress(OSError):  # Windows refuses to remove a file that is being read; the next autosave retries
            old.unlink()
    return path


def autosaved(state: CNSState) -> str:
    """Saves the state after a training. A line for people: where it is, or why it could not be saved."""
    with SideEffect("The state was not autosaved") as saving:
        return f"- autosaved as `{save_after_training(state)}`"
    return f"- {saving.failure}"


def superseded(lineages: Mapping[Path, Sequence[str]]) -> set[Path]:
    """Files that are not among the newest :data:`KEPT` of any sequence.

    A sequence is a state that no other file continues, together with the states it continues. States taught from the same
    one end different sequences, so the last state of every branch is kept, and with it the newest it was taught on.
    """
    continued = {digest for lineage in lineages.values() for digest in lineage[:-1]}
    present = {lineage[-1] for lineage in lineages.values()}
    kept = set()
    for lineage in lineages.values():
        if lineage[-1] not in continued:
            kept.update([digest for digest in lineage if digest in present][-KEPT:])
    return {path for path, lineage in lineages.items() if lineage[-1] not in kept}


def _lineages(place: Path) -> dict[Path, tuple[str, ...]]:
    """Lineages of the states in the folder; files that are not states, or cannot be read, are left out."""
    found = {path: read_lineage(path) for path in sorted(place.glob(f"*{SUFFIX}"))}
    return {path: lineage for path, lineage in found.items() if lineage}


def title(names: Sequence[str]) -> str:
    """Of concepts called so: ``new1-dog+new2-hat``, or ``7-concepts-to-new7-hat``."""
    words = [plain(name) for name in names]
    joined = "+".join(words)
    if len(joined) > _LONGEST and len(words) > 1:
        joined = f"{len(words)}-concepts-to-{words[-1]}"
    return joined[:_LONGEST]


def _free_path(name: str) -> Path:
    """Like ``new1-dog+new2-hat_2026-01-31_18-05-00.safetensors``."""
    stem = f"{name}_{datetime.now():%Y-%m-%d_%H-%M-%S}"
    path, number = folder() / f"{stem}{SUFFIX}", 1
    while path.exists():
        number += 1
        path = folder() / f"{stem}_{number}{SUFFIX}"
    return path
