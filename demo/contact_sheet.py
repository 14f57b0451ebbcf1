"""Pictures in rows and columns, with words beside and above them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_LEFT, _LINE, _LETTERS = 170, 16, 22  # pixels beside the rows, and of a line above the columns; letters in a line beside a row
_NARROW = 7  # pixels of a letter above a column, on average


def contact_sheet(
    pictures: Sequence[Sequence[np.ndarray | None]], rows: Sequence[str] = (), columns: Sequence[str] = (), gap: int = 0
) -> Image.Image:
    """``pictures``: uint8 (side, side, 3), all of one size; None leaves a place empty. ``gap``: pixels between them."""
    side = next(len(picture) for row in pictures for picture in row if picture is not None)
    heads = [textwrap.wrap(words, side // _NARROW) for words in columns]
    left, top, step = _LEFT if rows else 0, 6 + _LINE * max(map(len, heads)) if heads else 0, side + gap
    sheet = Image.new("RGB", (left + step * max(map(len, pictures)) - gap, top + step * len(pictures) - gap), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, lines in enumerate(heads):
        pen.multiline_text((left + step * number + 4, 3), "\n".join(lines), "black", font)
    for number, words in enumerate(rows):
        pen.multiline_text((4, top + step * number + 8), textwrap.fill(words, _LETTERS), "black", font)
    for y, row in enumerate(pictures):
        for x, picture in enumerate(row):
            if picture is not None:
                sheet.paste(Image.fromarray(picture), (left + step * x, top + step * y))
    return sheet
