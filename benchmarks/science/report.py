"""Means with their spread, plots and picture grids as PNG; tables and figures as all benchmarks write them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from benchmarks import reporting
from benchmarks.reporting import ROOT, table
from benchmarks.science.variants import DEMO
from demo.contact_sheet import contact_sheet

if TYPE_CHECKING:
    from benchmarks.science.bench import Bench

__all__ = ["collected", "mean_sd", "save_grid", "save_plot", "sd", "table", "table_of", "write"]
PICTURES = ROOT / "docs" / "science"


def mean_sd(values: Sequence[float], digits: int = 1, scale: float = 100) -> str:
    """``74.9 ± 0.4`` in percent; the standard deviation is that of a sample."""
    array = scale * np.asarray(values, dtype=float)
    spread = f" ± {sd(array):.{digits}f}" if len(array) > 1 else ""
    return f"{array.mean():.{digits}f}{spread}"


def sd(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """That of a sample along ``axis``; 0 where there is one value."""
    return values.std(axis, ddof=min(1, values.shape[axis] - 1))


def collected(scores: Iterable[Mapping[str, float]]) -> dict[str, list[float]]:
    """Of each figure its values in all of ``scores``."""
    scores = list(scores)
    return {name: [score[name] for score in scores] for name in scores[0]}


def table_of(head: Sequence[str], figures: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """A row for each title, with its figures in percent."""
    table(head, [[title, *map(mean_sd, values.values())] for title, values in figures.items()])


def write(bench: Bench, name: str, values: dict[str, object]) -> None:
    """Beside the figures: the seeds, the settings where none are named, and digests of the checkpoint and the judges."""
    made = {"seeds": bench.seeds, "settings": DEMO, "checkpoint": bench.lab.digest, "judges": bench.lab.judges}
    reporting.write(f"science/{name}", made | values)


def save_plot(figure: Figure, name: str) -> None:
    _save(figure.savefig, name)


def save_grid(pictures: Sequence[Sequence[np.ndarray | None]], rows: Sequence[str], columns: Sequence[str], name: str) -> None:
    """See :func:`contact_sheet`."""
    _save(contact_sheet(pictures, rows, columns).save, name)


def _save(write_to: Callable[[Path], None], name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    path = PICTURES / f"{name}.png"
    write_to(path)
    print(f"picture   {path.relative_to(ROOT)}")
