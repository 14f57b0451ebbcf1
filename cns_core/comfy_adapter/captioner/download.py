"""Fetches a known captioning model from Hugging Face, only when the user asked for it."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import CNSError, brief
from ..interruptions import check_cancelled

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """``revision``: the commit that is fetched, so that the same files come today and in a year."""

    repository: str
    revision: str
    size: str


# Folder name -> where it comes from; the first is the default.
KNOWN = {
    "blip-image-captioning-large": Source(
        "Salesforce/blip-image-captioning-large", "353689b859fcf0523410b1806dace5fb46ecdf41", "1.9 GB"
    ),
    "blip2-opt-2.7b": Source("Salesforce/blip2-opt-2.7b", "59a1ef6c1e5117b3f65523d1c6066825bcf315e3", "15 GB"),
}
_WANTED_FILES = ["*.json", "*.txt", "*.safetensors"]


def download(source: Source, target: Path, on_download: Callable[[str], None]) -> Path:
    """Returns ``target``, which holds the whole model; ``on_download`` is called twice a second with the progress.

    Raises:
        CNSError: the hub cannot be reached, or has no safetensors of it.
    """
    from huggingface_hub import snapshot_download

    unfinished = target.with_name(f".{target.name}.download")  # kept when interrupted, so that the next try resumes
    logger.info("Downloading %s to %s", source.repository, target)

    def report() -> None:
        on_download(f"downloading to {target}: {_bytes_in(unfinished) / 1e9:.2f} of about {source.size}")

    def fetch() -> None:
        snapshot_download(source.repository, revision=source.revision, local_dir=unfinished, allow_patterns=_WANTED_FILES)
        if not any(unfinished.glob("*.safetensors")):
            raise CNSError(
                f"{source.repository} has no .safetensors weights, and no other kind is loaded: choose another captioner."
            )
        unfinished.rename(target)

    error = _failure_of(fetch, report)
    if isinstance(error, CNSError):
        raise error
    if error is not None:  # of whatever kind: those of the network are the download libraries' own
        raise CNSError(
            f"{source.repository} could not be downloaded to {target} ({brief(error)}): check the network, or put its "
            "files there yourself."
        ) from error
    return target


def _bytes_in(folder: Path) -> int:
    sizes = 0
    for root, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):  # finished files are renamed
                sizes += os.path.getsize(os.path.join(root, name))
    return sizes


def _failure_of(work: Callable[[], object], report: Callable[[], None]) -> Exception | None:
    """Runs it in a thread, so that Cancel works at once; the thread finishes what it has begun, and the next try finds it."""
    failed: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while True:
        check_cancelled()
        report()
        thread.join(0.5)
        if not thread.is_alive():
            break
    return failed[0] if failed else None
