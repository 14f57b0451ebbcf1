"""Renders many scenes on all cores into files that can be read page by page."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from demo.world.drawing import render
from demo.world.styles import PIXELS

_CHUNK = 500
Render = Callable[[int], tuple[np.ndarray, object]]  # seed -> picture and what is to be known of it, as JSON


def captioned(seed: int) -> tuple[np.ndarray, str]:
    picture, caption, _ = render(seed)
    return picture, caption


def _render_chunk(render_one: Render, first: int) -> tuple[np.ndarray, list]:
    rendered = [render_one(seed) for seed in range(first, first + _CHUNK)]
    return np.stack([picture for picture, _ in rendered]), [record for _, record in rendered]


def pictures(path: Path, count: int, first_seed: int, render_one: Render = captioned) -> np.ndarray:
    """uint8 (count, PIXELS, PIXELS, 3), memory-mapped; records lie beside as JSON. Made once, ``count`` in chunks of 500."""
    if not path.with_suffix(".json").is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, PIXELS, PIXELS, 3))
        records: list = []
        starts = range(first_seed, first_seed + count, _CHUNK)
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            for index, (chunk, words) in enumerate(pool.map(partial(_render_chunk, render_one), starts)):
                array[index * _CHUNK : (index + 1) * _CHUNK] = chunk
                records += words
                print(f"\rdrawing {path.stem} {len(records)}/{count}", end="", flush=True)
        print()
        array.flush()
        path.with_suffix(".json").write_text(json.dumps(records), encoding="utf-8")
    return np.load(path, mmap_mode="r")


def records_of(path: Path) -> list:
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
