"""Reads the folders of CustomConcept101, CIFC and DreamBench, and any folder with a folder of pictures for each concept."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from cns_core.comfy_adapter.pictures.folders import PictureFile, load_pictures, pictures_in, subfolders_in
from cns_core.comfy_adapter.teach_folder import noun_of
from cns_core.concept import Concept
from cns_core.contexts import undescribed
from cns_core.errors import CNSError


@dataclass(frozen=True)
class Subject:
    """A concept on disk. ``captions``: a folder of text files named like the pictures, unless they are beside them."""

    name: str
    noun: str
    pictures: Path
    captions: Path | None = None

    def read(self, token: str, resolution: int) -> Concept:
        """With captions and masks, as Teach Folder reads them; prints what was read and what was left out.

        Raises:
            CNSError: no picture can be read, or a caption cannot.
        """
        folder = pictures_in(self.pictures)
        folder = replace(folder, pictures=tuple(map(self._with_caption, folder.pictures)))
        loaded = load_pictures(folder, resolution, lambda: None)
        print(f"{self.name}: {loaded.report}", flush=True)
        images = tuple(image[0] for image in loaded.images)
        captions = tuple(text or undescribed(self.noun, number) for number, text in enumerate(loaded.captions))
        masks = tuple(None if mask is None else mask[0] for mask in loaded.masks)
        return Concept(token, self.noun, images, captions, masks)

    def _with_caption(self, picture: PictureFile) -> PictureFile:
        file = self.captions / f"{picture.path.stem}.txt" if self.captions else None
        return replace(picture, captions=file) if file and file.is_file() else picture


def find_subjects(root: Path) -> list[Subject]:
    """In the data set's order.

    Raises:
        CNSError: there are none.
    """
    if (root / "dataset.json").is_file():
        return _custom_concept_101(root)
    if (root / "images").is_dir():
        names = subfolders_in(root / "images")
        return [Subject(name, _noun(name), root / "images" / name, root / "caption" / name) for name in names]
    classes = _dreambench_classes(root / "prompts_and_classes.txt")
    return [Subject(name, classes.get(name) or _noun(name), root / name) for name in subfolders_in(root)]


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
    known = [(root / entry["instance_data_dir"], entry["class_prompt"]) for entry in entries]
    found = [Subject(folder.name, noun, folder) for folder, noun in known if folder.is_dir()]
    if not found:
        raise CNSError(f"{root} holds none of the folders that its dataset.json names: download their pictures too.")
    return found


def _dreambench_classes(file: Path) -> dict[str, str]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return dict(line.split(",") for line in lines if re.fullmatch(r"\w+,[\w ]+", line))


def _noun(folder: str) -> str:
    """``duck_toy2`` holds pictures of a duck toy."""
    return re.sub(r"\d+$", "", noun_of(folder)).replace("_", " ").strip()
