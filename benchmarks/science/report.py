"""Means with their spread, plots and picture grids as PNG; tables and figures as all benchmarks write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from benchmarks import reporting
from benchmarks.reporting import ROOT, table
from benchmarks.science.variants import DEMO

if TYPE_CHECKING:
    from benchmarks.science.bench import Bench

__all__ = ["mean_sd", "save_grid", "save_plot", "table", "write"]
PICTURES = ROOT / "docs" / "science"


def mean_sd(values: Sequence[float], digits: int = 1, scale: float = 100) -> str:
    """``74.9 ± 0.4`` in percent; the standard deviation is that of a sample."""
    array = scale * np.asarray(values, dtype=float)
    spread = f" ± {array.std(ddof=1):.{digits}f}" if len(array) > 1 else ""
    return f"{array.mean():.{digits}f}{spread}"


def write(bench: Bench, name: str, values: Mapping[str, object]) -> None:
    """Beside the figures: the seeds, the settings where none are named, and digests of the checkpoint and the judges."""
    made = {"seeds": bench.seeds, "settings": DEMO, "checkpoint": bench.lab.digest, "judges": bench.lab.judges}
    reporting.write(f"science/{name}", {**made, **values})


def save_plot(figure: Figure, name: str) -> None:
    _save(lambda path: FigureCanvasAgg(figure).print_png(path), name)


def save_grid(pictures: Sequence[Sequence[np.ndarray | None]], rows: Sequence[str], columns: Sequence[str], name: str) -> None:
    """uint8 pictures (128, 128, 3) with labels left of the rows and above the columns."""
    side, left, top = 128, 150, 22
    sheet = Image.new("RGB", (left + side * max(map(len, pictures)), top + side * len(pictures)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, label in enumerate(columns):
        pen.text((left + side * number + 4, 3), label, "black", font)
    for y, (label, line) in enumerate(zip(rows, pictures, strict=True)):
        pen.multiline_text((4, top + side * y + 8), _wrapped(label), "black", font)
        for x, picture in enumerate(line):
            if picture is not None:
                sheet.paste(Image.fromarray(picture), (left + side * x, top + side * y))
    _save(sheet.save, name)


def _wrapped(text: str, width: int = 20) -> str:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] += word + " "
    return "\n".join(lines)


def _save(write_to, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    path = PICTURES / f"{name}.png"
    write_to(path)
    print(f"picture   {path.relative_to(ROOT)}")
