"""Captions a user gives, brought into one caption for each image."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import CNSError


def given_captions(captions: Sequence[str], images: int) -> list[str]:
    """One caption an image, "" where none was given.

    ``captions`` is either one text with a line for each image, or a list with an entry for each image.

    Raises:
        CNSError: their number differs from the number of images.
    """
    lines = captions[0].split("\n") if len(captions) == 1 and images != 1 else list(captions)
    lines = [" ".join(line.split()) for line in lines]
    while len(lines) > images and not lines[-1]:  # an empty line in front or between asks the captioner, one too many is none
        lines.pop()
    if not any(lines):
        return [""] * images
    if len(lines) != images:
        raise CNSError(f"{len(lines)} captions were given for {images} images: write one line for each image, in their order.")
    return lines
