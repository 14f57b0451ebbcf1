"""Where files live: states under ``models/cns`` and ``output/cns``, models for captions and for scores beside them."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path, PureWindowsPath

import folder_paths

from ..errors import CNSError

STATES, CAPTIONERS, JUDGES = "cns", "captioners", "cns_judges"
AUTOSAVES = "autosave"  # a folder in output/cns
SUFFIX = ".safetensors"

_FORBIDDEN = re.compile(r'[\x00-\x1f<>:"|?*]' if os.name == "nt" else r"[\x00-\x1f]")  # in a file's name


def register() -> None:
    """Makes the folders known to ComfyUI, beside those extra_model_paths.yaml names."""
    folder_paths.add_model_folder_path(STATES, str(Path(folder_paths.models_dir, STATES)), is_default=True)
    folder_paths.add_model_folder_path(STATES, str(Path(folder_paths.get_output_directory(), STATES)))
    folder_paths.folder_names_and_paths[STATES][1].add(SUFFIX)
    for models in (CAPTIONERS, JUDGES):
        folder_paths.add_model_folder_path(models, str(Path(folder_paths.models_dir, models)))


def state_names() -> list[str]:
    """Each state once, by its shortest name where one of the folders lies inside another. Autosaves come last, as the first
    name is the node's default.
    """
    names = {}
    for name, path in sorted(_states().items(), key=lambda state: len(Path(state[0]).parts)):
        names.setdefault(_place(path), name)
    return sorted(names.values(), key=lambda name: (Path(name).parts[0] == AUTOSAVES, name))


def newest_states() -> list[Path]:
    """All states, the newest first."""
    dates = {}
    for path in _states().values():
        with contextlib.suppress(OSError):  # removed in the meantime
            dates[path] = path.stat().st_mtime_ns
    return sorted(dates, key=lambda path: dates[path], reverse=True)


def state_path(name: str) -> Path:
    """Full path of a listed state.

    Raises:
        CNSError: no such file, or several of that name.
    """
    states = _states()
    for listed in (name, str(Path(*PureWindowsPath(name).parts))):  # a workflow made on Windows has \ in it
        if listed in states:
            return states[listed]
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
    """The folders that hold a state of this name; of several paths to one folder the first."""
    folders = {}
    for folder in folder_paths.get_folder_paths(STATES):
        path = Path(folder, name)
        if path.is_file():
            folders.setdefault(_place(path), folder)
    return list(folders.values())


def _place(path: Path) -> Path:
    """The same for every path to a file. Links to files are files of their own: users name their states by them."""
    return Path(os.path.normcase(os.path.realpath(path.parent)), path.name)


def check_prefix(prefix: str) -> PureWindowsPath:
    """The name of a file inside the output folder; / and \\ separate on every system, as workflows travel.

    Raises:
        CNSError: it is not a valid file name, or points outside the folder.
    """
    pure = PureWindowsPath(prefix)
    if prefix.endswith(("/", "\\")) or not pure.name or pure.anchor or ".." in pure.parts or _FORBIDDEN.search(prefix):
        raise CNSError(
            f"filename_prefix '{prefix}' must name a file inside ComfyUI's output folder: use a name like cns/my_concepts."
        )
    return pure


def new_state_path(prefix: str) -> Path:
    """The next free ``prefix_00001_.safetensors`` under ``output``, numbered as ComfyUI numbers images; no name that a state
    in another folder has.

    Raises:
        CNSError: the prefix is not a valid file name, points outside the output folder, or that cannot be written.
    """
    pure = check_prefix(prefix)
    output = folder_paths.get_output_directory()
    try:
        folder, name, counter, *_ = folder_paths.get_save_image_path(pure.as_posix(), output)
        while True:
            path = Path(folder, f"{name}_{counter:05}_{SUFFIX}")
            root = Path(output, STATES)
            elsewhere = path.is_relative_to(root) and _folders_with(str(path.relative_to(root)))
            if not elsewhere and not path.exists():
                return path
            counter += 1
    except OSError as error:
        raise CNSError(
            f"The state could not be written to {output} as '{prefix}': {error.strerror or error}. Choose another "
            "filename_prefix."
        ) from error
