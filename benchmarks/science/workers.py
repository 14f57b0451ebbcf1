"""Runs sequences in several processes; each opens a lab of its own."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from benchmarks.science.lab import Lab
    from benchmarks.science.sequences import Sequence

_lab: Lab | None = None


def _start(threads: int, work: Path) -> None:
    from benchmarks.science.lab import Lab

    global _lab
    torch.set_num_threads(threads)
    _lab = Lab.open(work)


def _run(sequence: Sequence) -> dict:
    from benchmarks.science.sequences import run

    assert _lab is not None
    return run(_lab, sequence)


def run_all(sequences: list[Sequence], work: Path, workers: int) -> list[dict]:
    """Results in the order of ``sequences``; several at a time, as a small model keeps no more than a core or two busy."""
    threads = max(1, torch.get_num_threads() // workers)
    results: dict[int, dict] = {}
    with ProcessPoolExecutor(workers, get_context("spawn"), _start, (threads, work)) as pool:
        jobs = {pool.submit(_run, sequence): index for index, sequence in enumerate(sequences)}
        for job in as_completed(jobs):
            index = jobs[job]
            try:
                results[index] = job.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            sequence = sequences[index]
            print(
                f"{len(results)}/{len(sequences)}  {sequence.variant.title}: {', '.join(sequence.names)}; seed {sequence.seed}"
            )
    return [results[index] for index in range(len(sequences))]
