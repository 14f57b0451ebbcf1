"""A user's captions, one for each image."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path

from .errors import CNSError


def read_captions(path: Path) -> list[str]:
    """The captions of a text file, one per line; blank lines are ignored.

    Raises:
        CNSError: the file cannot be read, or is neither UTF-8 nor UTF-16 with a byte order mark.
    """
    try:
        content = path.read_bytes()
        marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        lines = content.decode("utf-16" if marked else "utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CNSError(f"The caption {path} cannot be read: save it as UTF-8 text.") from error
    except OSError as error:
        raise CNSError(f"The caption {path} cannot be read: {error.strerror or error}.") from error
    return [" ".join(line.split()) for line in lines if line.strip()]


def given_captions(captions: Sequence[str], images: int) -> list[str]:
    """One caption an image, "" where none was given.

    ``captions`` is either one text with a line for each image, or a list with an entry for each image.

    Raises:
        CNSError: their number differs from the number of images.
    """
    lines = captions[0].split("\n") if len(captions) == 1 and images != 1 else list(captions)
    lines = [" ".join(line.split()) for line in lines]
    # An empty line stands for an image without a caption, but one too many at the end does not.
    while len(lines) > images and not lines[-1]:
        lines.pop()
    if not any(lines):
        return [""] * images
    if len(lines) != images:
        raise CNSError(f"{len(lines)} captions were given for {images} images: write one line for each image, in their order.")
    return lines
