"""Sets of pictures, drawn once on all cores, in files that can be read page by page."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cns_core.atomic_write import replacing
from demo.world.styles import PIXELS


@dataclass(frozen=True)
class PictureSet:
    """``render`` gives the picture of a seed and what is to be known of it, as JSON; files are called ``name``."""

    name: str
    count: int
    first_seed: int
    render: Callable[[int], tuple[np.ndarray, object]]

    def pixels(self, folder: Path) -> np.ndarray:
        """uint8 (count, PIXELS, PIXELS, 3), memory-mapped."""
        file, complete = folder / f"{self.name}.npy", folder / f"{self.name}.json"
        if not complete.is_file():
            shape, records = (self.count, PIXELS, PIXELS, 3), []
            array = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
            with ProcessPoolExecutor() as pool:
                rendered = pool.map(self.render, range(self.first_seed, self.first_seed + self.count), chunksize=500)
                for index, (picture, record) in enumerate(tqdm(rendered, f"drawing {self.name}", self.count)):
                    array[index] = picture
                    records.append(record)
            array.flush()
            with replacing(complete) as unfinished:
                unfinished.write_text(json.dumps(records), encoding="utf-8")
        return np.load(file, mmap_mode="r")

    def records(self, folder: Path) -> list:
        return json.loads((folder / f"{self.name}.json").read_text(encoding="utf-8"))


def made_once(file: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """An array kept in a file."""
    if not file.is_file():
        with replacing(file) as unfinished, unfinished.open("wb") as opened:
            np.save(opened, make())
    return np.load(file)
