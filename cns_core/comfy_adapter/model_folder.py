"""Models for transformers in a folder of ComfyUI's; known ones are fetched from Hugging Face, when a user asks for it."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import folder_paths

from ..errors import CNSError, brief
from .interruptions import check_cancelled

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """``revision``: the commit that is fetched, so that the same files come today and in a year."""

    repository: str
    revision: str
    size: str


@dataclass(frozen=True)
class ModelFolder:
    """``folder``: ComfyUI's name of it. ``known``: model folder -> where it comes from; the first is the default.

    In sentences: ``model`` is what one of them is, ``switch`` the input that lets it be fetched, ``otherwise`` what else helps.
    """

    folder: str
    known: Mapping[str, Source]
    model: str
    switch: str
    otherwise: str

    def names(self) -> list[str]:
        """The known models, and every model folder a user put there."""
        own = [name for root in self._roots() for name in _entries(root) if not name.startswith(".") and _is_model(root / name)]
        return list(dict.fromkeys([*self.known, *own]))

    def path_of(self, name: str, may_download: bool, on_download: Callable[[str], None]) -> Path:
        """A model's folder, fetched if it is not there and may be.

        Raises:
            CNSError: it is not there, not whole, or could not be fetched.
        """
        for root in self._roots():
            if _is_model(root / name):
                return root / name
        first = self._roots()[0]
        target = first / name
        if name not in self.known:
            raise CNSError(f"There is no {self.model} '{name}' in {first}: choose another, or put its folder there.")
        if target.exists():
            raise CNSError(
                f"{target} has no config.json, so the model is incomplete: put the missing files there or remove it."
            )
        source = self.known[name]
        if not may_download:
            raise CNSError(
                f"The {self.model} {source.repository} is not in {target}: turn on {self.switch} to fetch it "
                f"({source.size}), put its files there yourself, or {self.otherwise}."
            )
        return download(source, target, on_download)

    def _roots(self) -> list[Path]:
        return [Path(path) for path in folder_paths.get_folder_paths(self.folder)]


def check_weights(folder: Path) -> None:
    """Raises CNSError where a model has no weights that may be loaded."""
    if any(folder.glob("*.safetensors")):
        return
    pickled = next(folder.glob("*.bin"), None)
    if pickled:
        raise CNSError(
            f"{pickled} is a pickle, which can run code when it is opened: put the same weights there as .safetensors, or "
            "choose another model."
        )
    raise CNSError(f"{folder} has no weights (.safetensors): put the missing files there, or remove it and download it again.")


def _entries(root: Path) -> list[str]:
    try:
        return sorted(os.listdir(root))
    except OSError:
        return []


def _is_model(path: Path) -> bool:
    return os.path.isfile(path / "config.json")  # unlike Path.is_file, False where the folder may not be read


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
                f"{source.repository} has no .safetensors weights, and no other kind is loaded: choose another model."
            )
        unfinished.rename(target)

    error = _failure_of(target, fetch, report)
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


class _Work(threading.Thread):
    """A thread whose error can be asked for."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._work()
        except Exception as error:
            self.error = error


_running: dict[Path, _Work] = {}  # by target


def _failure_of(target: Path, work: Callable[[], object], report: Callable[[], None]) -> Exception | None:
    """Runs it in a thread, so that Cancel works at once. The thread goes on after a Cancel, and the next try waits for it."""
    thread = _running.get(target)
    if thread is None or not thread.is_alive():
        thread = _running[target] = _Work(work)
        thread.start()
    while True:
        check_cancelled()
        report()
        thread.join(0.5)
        if not thread.is_alive():
            return thread.error
