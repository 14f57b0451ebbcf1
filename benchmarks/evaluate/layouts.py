"""Reads the folders of CustomConcept101, CIFC and DreamBench, and any folder with a folder of pictures for each concept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cns_core.comfy_adapter.pictures.folders import (
    PICTURE_SUFFIXES,
    PictureFile,
    PictureFolder,
    load_pictures,
    natural_order,
)
from cns_core.comfy_adapter.teach_folder import noun_of
from cns_core.concept import Concept
from cns_core.contexts import undescribed
from cns_core.errors import CNSError

_CLASSES = "prompts_and_classes.txt"


@dataclass(frozen=True)
class Subject:
    """A concept on disk. ``captions``: the folder of text files named like the pictures."""

    name: str
    noun: str
    pictures: Path
    captions: Path

    def read(self, token: str, resolution: int) -> Concept:
        """Raises CNSError where no picture can be read."""
        paths = _in_order(filter(_is_picture, self.pictures.iterdir()))
        files = tuple(PictureFile(path, self._caption(path), None) for path in paths)
        loaded = load_pictures(PictureFolder(self.pictures, files, ()), resolution, lambda: None)
        captions = tuple(text or undescribed(self.noun, number) for number, text in enumerate(loaded.captions))
        return Concept(token, self.noun, tuple(image[0] for image in loaded.images), captions)

    def _caption(self, picture: Path) -> Path | None:
        file = self.captions / f"{picture.stem}.txt"
        return file if file.is_file() else None


def find_subjects(root: Path) -> list[Subject]:
    """In the data set's order.

    Raises:
        CNSError: there are none.
    """
    if (root / "dataset.json").is_file():
        found = _custom_concept_101(root)
    elif (root / "images").is_dir():
        found = [_subject(folder, root / "caption" / folder.name) for folder in _folders(root / "images")]
    else:
        classes = _dreambench_classes(root / _CLASSES)
        found = [_subject(folder, folder, classes.get(folder.name)) for folder in _folders(root)]
    if not found:
        raise CNSError(f"{root} holds no folders with pictures: give CustomConcept101's, CIFC's or DreamBench's, or your own.")
    return found


def chosen(subjects: list[Subject], names: list[str], count: int) -> list[Subject]:
    """Those named, in that order, or the first ``count``.

    Raises:
        CNSError: a name that is not there.
    """
    known = {subject.name: subject for subject in subjects}
    missing = [name for name in names if name not in known]
    if missing:
        raise CNSError(f"There is no concept '{missing[0]}': choose from {', '.join(known)}.")
    return [known[name] for name in names] or subjects[:count]


def _custom_concept_101(root: Path) -> list[Subject]:
    entries = json.loads((root / "dataset.json").read_text(encoding="utf-8"))
    folders = [(entry, root / entry["instance_data_dir"]) for entry in entries]
    return [_subject(folder, folder, entry["class_prompt"]) for entry, folder in folders if folder.is_dir()]


def _dreambench_classes(file: Path) -> dict[str, str]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return dict(line.split(",") for line in lines if re.fullmatch(r"\w+,[\w ]+", line))


def _subject(pictures: Path, captions: Path, noun: str | None = None) -> Subject:
    """Without a noun the folder's name tells it: ``duck_toy2`` is a duck toy."""
    spoken = re.sub(r"\d+$", "", noun_of(pictures.name)).replace("_", " ").strip()
    return Subject(pictures.name, noun or spoken, pictures, captions)


def _folders(root: Path) -> list[Path]:
    return _in_order(path for path in root.iterdir() if path.is_dir() and any(map(_is_picture, path.iterdir())))


def _in_order(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: natural_order(path.name))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES
