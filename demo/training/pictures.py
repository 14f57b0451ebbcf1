"""Renders many scenes of the world on all cores into files that can be read page by page."""

from __future__ import annotations

import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from world.scene import render
from world.styles import PIXELS

_CHUNK = 500


def _render_chunk(first: int) -> tuple[np.ndarray, list[str]]:
    rendered = [render(seed) for seed in range(first, first + _CHUNK)]
    return np.stack([picture for picture, _, _ in rendered]), [text for _, text, _ in rendered]


def pictures(path: Path, count: int, first_seed: int) -> np.ndarray:
    """uint8 (count, PIXELS, PIXELS, 3), memory-mapped; captions lie beside as JSON. Made once, ``count`` in chunks of 500."""
    captions = path.with_suffix(".json")
    if not captions.is_file():
        shape = (count, PIXELS, PIXELS, 3)
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        texts: list[str] = []
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            for index, (chunk, words) in enumerate(pool.map(_render_chunk, range(first_seed, first_seed + count, _CHUNK))):
                array[index * _CHUNK : (index + 1) * _CHUNK] = chunk
                texts += words
        array.flush()
        captions.write_text(json.dumps(texts), encoding="utf-8")
    return np.load(path, mmap_mode="r")


def captions_of(path: Path) -> list[str]:
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
