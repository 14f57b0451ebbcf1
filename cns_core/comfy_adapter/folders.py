"""Where files live: states under ``models/cns`` and ``output/cns``, captioning models under ``models/captioners``."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

import folder_paths

from ..errors import CNSError
from .captioner import FOLDER as CAPTIONERS

STATES = "cns"
SUFFIX = ".safetensors"


def register() -> None:
    """Makes the folders known to ComfyUI, beside those extra_model_paths.yaml names."""
    folder_paths.add_model_folder_path(STATES, str(Path(folder_paths.models_dir, STATES)), is_default=True)
    folder_paths.add_model_folder_path(STATES, str(Path(folder_paths.get_output_directory(), STATES)))
    folder_paths.folder_names_and_paths[STATES][1].add(SUFFIX)
    folder_paths.add_model_folder_path(CAPTIONERS, str(Path(folder_paths.models_dir, CAPTIONERS)))


def state_names() -> list[str]:
    return list(_states())


def state_path(name: str) -> Path:
    """Full path of a listed state.

    Raises:
        CNSError: no such file, or several of that name.
    """
    states = _states()
    if name in states:
        return states[name]
    same = [shown for shown in states if shown.startswith(f"{name} [")]
    if same:
        raise CNSError(f"There are several states of this name: choose {' or '.join(same)}.")
    folders = " or ".join(folder_paths.get_folder_paths(STATES))
    raise CNSError(f"There is no state '{name}' in {folders}: press R in the editor and choose another.")


def _states() -> dict[str, Path]:
    """By name below the folders; one that lies in several of them says in which, as ``name [folder]``."""
    states = {}
    for name in _listed():
        folders = _folders_with(name)
        states |= {name if len(folders) == 1 else f"{name} [{folder}]": Path(folder, name) for folder in folders}
    return states


def _listed() -> list[str]:
    try:
        return folder_paths.get_filename_list(STATES)
    except FileNotFoundError:  # ComfyUI's list asks folders that were there last time for their date
        return folder_paths.get_filename_list_(STATES)[0]


def _folders_with(name: str) -> list[str]:
    return [folder for folder in folder_paths.get_folder_paths(STATES) if Path(folder, name).is_file()]


def new_state_path(prefix: str) -> Path:
    """The next free ``prefix_00001_.safetensors`` under ``output``, numbered as ComfyUI numbers images; no name that a state
    in another folder has.

    Raises:
        CNSError: the prefix points outside the output folder, or that cannot be written.
    """
    pure = PurePath(prefix)
    if prefix.endswith(("/", "\\")) or not pure.name or pure.anchor or ".." in pure.parts:
        raise CNSError(
            f"filename_prefix '{prefix}' must name a file inside ComfyUI's output folder: use a name like cns/my_concepts."
        )
    output = folder_paths.get_output_directory()
    try:
        folder, name, counter, *_ = folder_paths.get_save_image_path(prefix, output)
    except OSError as error:
        raise CNSError(f"The state could not be written to {output}: {error.strerror or error}.") from error
    while True:
        path = Path(folder, f"{name}_{counter:05}_{SUFFIX}")
        root = Path(output, STATES)
        elsewhere = path.is_relative_to(root) and _folders_with(str(path.relative_to(root)))
        if not elsewhere and not path.exists():
            return path
        counter += 1


def concept_folders() -> list[str]:
    """Folders inside ComfyUI's input that hold images; unreadable ones are passed over, as ComfyUI's own lists do."""
    root, seen, holding = Path(folder_paths.get_input_directory()), set(), []
    for folder, below, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back
            below.clear()
            continue
        seen.add(real)
        if any(map(is_image, files)):
            holding.append(Path(folder))
    return sorted(folder.relative_to(root).as_posix() for folder in holding if folder != root)


IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def is_image(name: str) -> bool:
    """By its name; files that systems hide (``._01.jpg``) are none."""
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES


def concept_images(folder: str) -> list[Path]:
    """Image files of a folder inside ComfyUI's input, by name.

    Raises:
        CNSError: no such folder, outside of input, or without images.
    """
    root, pure = Path(folder_paths.get_input_directory()), PurePath(folder)
    path = root / pure  # not resolved: a link in input may lead to another disk
    if pure.anchor or ".." in pure.parts or not pure.parts or not path.is_dir():
        raise CNSError(f"There is no folder '{folder}' in {root}: put the concept's images into a folder there.")
    images = sorted(file for file in path.iterdir() if is_image(file.name))
    if not images:
        raise CNSError(f"The folder {path} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    return images
