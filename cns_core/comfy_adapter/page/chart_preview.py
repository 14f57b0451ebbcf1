"""A small picture of the losses so far, for pages without the pack's own chart."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

_SIZE, _MARGIN, _LINE = (384, 216), 12, 14
_CURVES = (("instance", "#4c8dff"), ("prior", "#ff9f43"), ("regularization", "#2ec4a6"))  # columns of the rows
_OWN_SCALE = "regularization"  # far smaller than the other two
_BACKGROUND, _TEXT = "#1e1e1e", "#cccccc"
_WINDOW = 0.1  # share of the run a drawn point looks back on


def chart(rows: list[list[float]], steps: int, text: str) -> Image.Image:
    """Smoothed losses over all ``steps``; rows as :class:`LiveTraining` keeps them."""
    image = Image.new("RGB", _SIZE, _BACKGROUND)
    pen = ImageDraw.Draw(image)
    window = max(1, round(len(rows) * _WINDOW))
    sums = np.cumsum(np.insert(np.array(rows), 0, 0.0, axis=0), axis=0)
    means = (sums[window:] - sums[:-window]) / window
    smooth = {name: means[:, column] for column, (name, _) in enumerate(_CURVES)}
    common = max(float(curve.max()) for name, curve in smooth.items() if name != _OWN_SCALE)
    left, top = _MARGIN, _MARGIN + 2 * _LINE
    width, height = _SIZE[0] - 2 * _MARGIN, _SIZE[1] - _MARGIN - top
    for name, color in _CURVES:
        curve = smooth[name]
        if not curve.any():
            continue
        scale = float(curve.max()) if name == _OWN_SCALE else common
        x = _MARGIN + width * (np.arange(len(curve)) + window) / steps
        y = top + height * (1 - curve / scale)
        pen.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=color, width=2)
        label = f"{name} (own scale)" if name == _OWN_SCALE else name
        pen.text((left, _MARGIN + _LINE - 4), label, fill=color)
        left += pen.textlength(label) + _MARGIN
    pen.text((_MARGIN, _MARGIN - 8), text, fill=_TEXT)
    return image
