"""Where an export goes, and what its files are called."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import folder_paths

from ...errors import CNSError
from ..file_names import plain
from ..folders import check_prefix


def new_export_folder(prefix: str) -> Path:
    """Makes the folder ``prefix`` below ``output``, or ``prefix_2`` … where it is there already.

    Its last part is what prompts of other programs call the files, so that other characters than letters, digits, ``_`` and
    ``-`` are replaced.

    Raises:
        CNSError: the prefix is not a valid file name, points outside the output folder, or that cannot be written.
    """
    pure, output = check_prefix(prefix), folder_paths.get_output_directory()
    try:
        folder, name, *_ = folder_paths.get_save_image_path(pure.as_posix(), output)
        name, number = plain(name) or "concepts", 1
        while True:
            path = Path(folder, name if number == 1 else f"{name}_{number}")
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
            else:
                return path
    except OSError as error:
        raise CNSError(
            f"The folder '{prefix}' could not be made in {output}: {error.strerror or error}. Choose another filename_prefix."
        ) from error


def token_words(name: str, tokens: Iterable[str]) -> dict[str, str]:
    """What other programs call each token: ``<new1>`` -> ``concepts-new1``, where ``name`` is ``concepts``.

    Programs that read tokens from a folder replace their files' names wherever these stand in a prompt: they must be no words
    that prompts have anyway, as ``<dog>`` without its brackets is.
    """
    words: dict[str, str] = {}
    for token in tokens:
        first = f"{name}-{plain(token) or 'token'}".lower()
        found, number = first, 1
        while found in words.values():
            number += 1
            found = f"{first}_{number}"
        words[token] = found
    return words
