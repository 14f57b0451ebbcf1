"""Pictures in rows and columns, with words beside and above them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_LEFT, _TOP, _LETTERS = 170, 22, 22  # pixels beside the rows and above the columns; letters in a line beside a row


def contact_sheet(
    pictures: Sequence[Sequence[np.ndarray | None]], rows: Sequence[str] = (), columns: Sequence[str] = (), gap: int = 0
) -> Image.Image:
    """``pictures``: uint8 (side, side, 3), all of one size; None leaves a place empty. ``gap``: pixels between them."""
    side = next(len(picture) for row in pictures for picture in row if picture is not None)
    left, top, step = _LEFT if rows else 0, _TOP if columns else 0, side + gap
    sheet = Image.new("RGB", (left + step * max(map(len, pictures)) - gap, top + step * len(pictures) - gap), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, words in enumerate(columns):
        pen.text((left + step * number + 4, 3), words, "black", font)
    for number, words in enumerate(rows):
        pen.multiline_text((4, top + step * number + 8), textwrap.fill(words, _LETTERS), "black", font)
    for y, row in enumerate(pictures):
        for x, picture in enumerate(row):
            if picture is not None:
                sheet.paste(Image.fromarray(picture), (left + step * x, top + step * y))
    return sheet
