"""Folders of pictures: which files are pictures, captions and masks, and what else is there."""

from __future__ import annotations

import hashlib
import os
import re
import reprlib
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath

import folder_paths
from torch import Tensor

from ...captions import read_captions
from ...errors import CNSError
from .pictures import Unreadable, read_mask, read_picture

PICTURE_SUFFIXES = {
    *(".apng", ".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg", ".jxl"),
    *(".png", ".tif", ".tiff", ".webp"),
}
CAPTION_SUFFIXES = (".txt", ".caption")  # the first takes precedence
CONDITION_ENDING = "-condlabel"  # pictures that OneTrainer conditions on
MASK_ENDING = "-masklabel"  # as OneTrainer names them; white is what is learned
MASK_ENDINGS_BESIDE_A_PICTURE = ("_mask", "-mask", ".mask")  # a picture may be called so, a picture's companion is a mask
SYSTEM_NAMES = {"__macosx", "@eadir", "@recycle", "#recycle", "$recycle.bin", "thumbs.db", "ehthumbs.db", "desktop.ini"}
NAMES_SHOWN = 10
_CLOCK_TICK = 3_000_000_000  # nanoseconds: more than any file system's clock takes, FAT's 2 s included
_MASK_ENDINGS = (MASK_ENDING, *MASK_ENDINGS_BESIDE_A_PICTURE)

Note = tuple[str, str]  # the file's name, what the user should know about it


@dataclass(frozen=True)
class PictureFile:
    path: Path
    captions: Path | None  # the file of its captions
    mask: Path | None


@dataclass(frozen=True)
class PictureFolder:
    path: Path
    pictures: tuple[PictureFile, ...]
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class LoadedPictures:
    """``images``: float32 (1, height, width, 3) each; ``captions``: one for each, "" where there is none; ``masks``: float32
    (1, height, width) for each, 1 at what is to be learned; None where that is all of it.
    """

    images: list[Tensor]
    captions: list[str]
    masks: list[Tensor | None]
    report: str


def concept_folders() -> list[str]:
    """Folders inside ComfyUI's input that hold pictures; unreadable ones are passed over, as ComfyUI's own lists do.

    ComfyUI asks many times in a run. The tree is walked again when a folder in it has changed.
    """
    root = folder_paths.get_input_directory()
    known = _walks.get(root)
    if known is None or any(_changed(folder) != then for folder, then in known.folders.items()):
        known = _walks[root] = _walk(root)
    return list(known.names)


@dataclass(frozen=True)
class _Walk:
    """``folders``: every folder, and when something was last added to it or removed; 0 where that was just now."""

    folders: dict[str, int]
    names: list[str]


_walks: dict[str, _Walk] = {}  # by root


def _walk(root: str) -> _Walk:
    started, folders, seen, holding = time.time_ns(), {}, set(), []
    for folder, below, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back
            below.clear()
            continue
        seen.add(real)
        changed = _changed(folder)
        folders[folder] = changed if changed < started - _CLOCK_TICK else 0  # the next change may get the same time
        below[:] = [name for name in below if not _of_the_system(name)]
        if any(map(_is_picture, files)):
            holding.append(Path(folder))
    names = [folder.relative_to(root).as_posix() for folder in holding if folder != Path(root)]
    return _Walk(folders, sorted(names, key=natural_order))


def _changed(folder: str) -> int:
    """In nanoseconds; -1 where the folder is gone or may not be read."""
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return -1


def collections() -> list[str]:
    """Folders inside ComfyUI's input that hold folders of pictures."""
    parents = {PurePath(name).parent for name in concept_folders()}
    return sorted((path.as_posix() for path in parents if path.parts), key=natural_order)


def subfolders(folder: str) -> list[str]:
    """:func:`subfolders_in` a folder inside ComfyUI's input.

    Raises:
        CNSError: no such folder, outside of input, or without any.
    """
    return subfolders_in(_inside_input(folder))


def subfolders_in(path: Path) -> list[str]:
    """The names of the folders of pictures in a folder, in natural order.

    Raises:
        CNSError: there are none, or it cannot be read.
    """
    try:
        below = [entry.name for entry in path.iterdir() if os.path.isdir(entry) and not _of_the_system(entry.name)]
        names = [name for name in below if any(_is_picture(file) for file in os.listdir(path / name))]
    except OSError as error:
        raise CNSError(f"The folder {path} cannot be read: {error.strerror or error}.") from error
    if not names:
        raise CNSError(
            f"The folder {path} holds no folders with pictures: put each concept's pictures into a folder named after its "
            "noun, such as 'dog', or 'dog - Rex' where there are several."
        )
    return sorted(names, key=natural_order)


def natural_order(name: str) -> tuple[list[str | int], str]:
    """Sorts 1, 2, 10 as people count."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def find_pictures(folder: str) -> PictureFolder:
    """:func:`pictures_in` a folder inside ComfyUI's input.

    Raises:
        CNSError: no such folder, outside of input, or without pictures.
    """
    return pictures_in(_inside_input(folder))


def pictures_in(path: Path) -> PictureFolder:
    """The pictures of a folder in natural order, with their captions and masks; notes say what is left out.

    Raises:
        CNSError: there are none, or it cannot be read.
    """
    try:
        names = sorted((file.name for file in path.iterdir() if not _of_the_system(file.name)), key=natural_order)
    except OSError as error:
        raise CNSError(f"The folder {path} cannot be read: {error.strerror or error}.") from error
    candidates = {_stem(name) for name in names if _is_picture(name)}
    masked_with = {MASK_ENDING, *(end for name in names if (end := _mask_ending(name, candidates)))}
    left_out = {name: reason for name in names if (reason := _why_left_out(path / name, candidates, masked_with))}
    kept = [name for name in names if name not in left_out]
    captions = {_composed(name).casefold(): name for name in kept if _is_caption(name)}
    masks = {_stem(name): name for name in kept if _mask_ending(name, candidates)}
    pictures, notes = [], list(left_out.items())
    for name in filter(_is_picture, kept):
        stem = _stem(name)
        if stem in masks:
            continue
        files = [captions[own] for suffix in CAPTION_SUFFIXES if (own := stem + suffix) in captions]
        mask = next((masks[own] for end in _MASK_ENDINGS if (own := stem + end) in masks), None)
        pictures.append(PictureFile(path / name, path / files[0] if files else None, path / mask if mask else None))
        notes += [(file, f"left out ({files[0]} takes precedence)") for file in files[1:]]
    if not pictures:
        suffixes = ", ".join(sorted(PICTURE_SUFFIXES))
        raise CNSError(" ".join([f"The folder {path} holds no pictures ({suffixes}).", *_grouped(notes)]))
    return PictureFolder(path, tuple(pictures), tuple(notes))


def load_pictures(folder: PictureFolder, resolution: int, on_picture: Callable[[], None]) -> LoadedPictures:
    """Reads the pictures, see :func:`read_picture`, and of each the first caption and the mask, which may also be its alpha
    channel; ``on_picture`` is called after each.

    Raises:
        CNSError: not one picture can be read, or a caption cannot.
    """
    images, captions, masks, names, notes = [], [], [], [], []
    for file in folder.pictures:
        try:
            image, alpha, remarks = read_picture(file.path, resolution)
        except Unreadable as reason:
            notes.append((file.path.name, f"left out ({reason})"))
        else:
            caption, more = _caption(file.captions)
            mask, about_mask = _mask(file.mask, image, alpha)
            images.append(image)
            captions.append(caption)
            masks.append(mask)
            names.append(file.path.name)
            notes += [*((file.path.name, remark) for remark in remarks), *more, *about_mask]
        on_picture()
    notes = _grouped([*notes, *folder.notes])
    if not images:
        raise CNSError(f"No picture in {folder.path} could be read. {' '.join(notes)}")
    loaded = f"{len(images):,} picture{'s' * (len(images) > 1)}, {len(list(filter(None, captions))):,} with a caption"
    if masked := sum(mask is not None for mask in masks):
        loaded += f", {masked:,} with a mask"
    return LoadedPictures(images, captions, masks, "\n".join([f"{loaded}: {_listed(names)}.", *notes]))


def contents(folder: PictureFolder) -> tuple[tuple[str, str], ...]:
    """Name and digest of every picture, caption and mask; dates of files do not matter."""
    companions = ((picture.path, picture.captions, picture.mask) for picture in folder.pictures)
    return tuple((_composed(file.name), _content(file)) for group in companions for file in group if file is not None)


def fingerprint(folder: PictureFolder) -> tuple:
    """Differs where contents or notes do."""
    return (*contents(folder), *folder.notes)


def _inside_input(folder: str) -> Path:
    root, pure = Path(folder_paths.get_input_directory()), PurePath(folder)
    path = root / pure  # not resolved: a link in input may lead to another disk
    if pure.anchor or ".." in pure.parts or not pure.parts or not os.path.isdir(path):  # isdir takes any name
        raise CNSError(f"There is no folder {reprlib.repr(folder)} in {root}: put the concept's images into a folder there.")
    return path


def _of_the_system(name: str) -> bool:
    """Thumbnails, bins and the like, ``.ipynb_checkpoints`` and macOS's ``._01.jpg``: no data of the user's."""
    return name.startswith(".") or name.casefold() in SYSTEM_NAMES


def _is_picture(name: str) -> bool:
    return not _of_the_system(name) and Path(name).suffix.lower() in PICTURE_SUFFIXES


def _is_caption(name: str) -> bool:
    return Path(name).suffix.lower() in CAPTION_SUFFIXES


def _why_left_out(path: Path, pictures: set[str], masked_with: set[str]) -> str:
    """Empty for pictures and their companions; ``pictures``: the folder's :func:`_stem`; ``masked_with``: how masks end."""
    stem = _stem(path.name)
    if os.path.isdir(path):  # unlike Path.is_dir, False where it may not be asked for
        return "left out (folder)"
    if _is_caption(path.name):
        return "" if stem in pictures else "left out (no picture of the same name)"
    if not _is_picture(path.name):
        return "left out (neither picture nor caption)"
    if stem.endswith(CONDITION_ENDING):
        return "left out (conditioning image)"
    alone = stem.endswith(tuple(masked_with)) and not _mask_ending(path.name, pictures)
    return "left out (mask without a picture)" if alone else ""


def _mask_ending(name: str, pictures: set[str]) -> str:
    """Of the mask of one of the pictures; empty for anything else."""
    stem = _stem(name)
    ends = (end for end in _MASK_ENDINGS if stem.endswith(end) and stem.removesuffix(end) in pictures)
    return next(ends, "") if _is_picture(name) else ""


def _stem(name: str) -> str:
    """What a picture and its companions have in common: no suffix, letters composed (a Mac takes them apart), case folded."""
    return Path(_composed(name)).stem.casefold()


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _mask(file: Path | None, image: Tensor, alpha: Tensor | None) -> tuple[Tensor | None, list[Note]]:
    """From its file, or from the picture's alpha channel; None where it marks nothing."""
    notes: list[Note] = []
    if file is not None:
        try:
            alpha = read_mask(file, image)
        except Unreadable as reason:
            notes.append((file.name, f"left out ({reason})"))
    if alpha is not None and not bool(alpha.any()):
        return None, [*notes, (file.name if file else "A transparent picture", "marks nothing, so all of the picture counts")]
    return alpha, notes


def _caption(file: Path | None) -> tuple[str, list[Note]]:
    captions = read_captions(file) if file else []
    if not file or len(captions) < 2:
        return "".join(captions), []
    return captions[0], [(file.name, f"only the first of {len(captions)} captions (one per line) is used")]


def _grouped(notes: list[Note]) -> list[str]:
    """A line for each different note, with the files it is about."""
    names: dict[str, list[str]] = {}
    for name, note in notes:
        names.setdefault(note, []).append(name)
    return [f"{_listed(files)}: {note}." for note, files in names.items()]


def _listed(names: list[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _content(path: Path) -> str:
    try:
        status = path.stat()
        return _digest(path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    except OSError:  # reading it will say what is wrong
        return ""


@lru_cache(maxsize=10_000)
def _digest(path: Path, *version: int) -> str:
    """``version``: what the system says of the file, so that large files are not read before every run."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
