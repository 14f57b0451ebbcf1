"""Which folders of pictures states were taught from, and which saved state goes on with them."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Collection, Mapping

from ..errors import CNSError
from ..state import CNSState
from ..state_file import load_state, read_lineage, read_settings
from .checkpoint.checkpoint import Checkpoint
from .folders import newest_states
from .pictures.folders import contents, find_pictures

FOLDER, PICTURES = "folder", "pictures"  # in a concept's settings: where its pictures lie, and a digest of what is there


def source_of(folder: str) -> dict[str, str]:
    """What settings say of a concept that is taught from this folder inside ComfyUI's input.

    Raises:
        CNSError: it holds no pictures, or cannot be read.
    """
    digest = hashlib.sha256(repr(contents(find_pictures(folder))).encode()).hexdigest()
    return {FOLDER: unicodedata.normalize("NFC", folder), PICTURES: digest}


def is_of(settings: Mapping[str, object], source: Mapping[str, str]) -> bool:
    """Whether they are of a concept taught from this folder, whatever lies in it by now."""
    return settings.get(FOLDER) == source[FOLDER]


def has_changed(settings: Mapping[str, object], source: Mapping[str, str]) -> bool:
    """Whether other pictures or captions lie there now; older versions have not written down which."""
    return settings.get(PICTURES, source[PICTURES]) != source[PICTURES]


def known_state(sources: Collection[Mapping[str, str]], checkpoint: Checkpoint) -> tuple[CNSState | None, str]:
    """The newest saved state on this checkpoint with a concept from one of these folders as they are now, and a line for people
    about its file. A state that goes on from another one counts as newer, whatever the dates of their files.
    """
    found = [path for path in newest_states() if _knows(read_settings(path), sources)]
    lineages = {path: read_lineage(path) for path in found}
    continued = {digest for lineage in lineages.values() for digest in lineage[:-1]}
    for path in sorted(found, key=lambda path: bool(continued.intersection(lineages[path][-1:]))):
        try:
            state = load_state(path)
            checkpoint.fingerprint.check_same(state.fingerprint, path.name)
        except CNSError:  # damaged, or of another checkpoint, which has a state of its own
            continue
        return state, f"- goes on from `{path}`\n"
    return None, ""


def _knows(concepts: list[dict], sources: Collection[Mapping[str, str]]) -> bool:
    return any(is_of(settings, source) and not has_changed(settings, source) for settings in concepts for source in sources)
