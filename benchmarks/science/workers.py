"""Runs sequences several at a time, in processes of this machine or on a Ray cluster; each process opens a lab of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.science.lab import Lab
from benchmarks.science.sequences import Sequence, run

Submit = Callable[[Sequence], Future]
Workers = Callable[[], AbstractContextManager[Submit]]


@lru_cache(1)
def _lab(work: Path, results: Path, threads: int) -> Lab:
    torch.set_num_threads(threads)
    return Lab.open(work, results)


def _run(work: Path, results: Path, threads: int, sequence: Sequence) -> dict:
    return run(_lab(work, results, threads), sequence)


@contextmanager
def processes(work: Path, results: Path, count: int) -> Iterator[Submit]:
    """Several at a time, as a small model keeps no more than a core or two busy."""
    threads = max(1, torch.get_num_threads() // count)
    with ProcessPoolExecutor(count, get_context("spawn")) as pool:
        try:
            yield partial(pool.submit, _run, work, results, threads)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def ray_cluster(work: Path, results: Path, address: str) -> Iterator[Submit]:
    """A sequence for each GPU, or each core where there is none. All machines see this folder, ``work`` and
    ``results`` at the same paths.
    """
    try:
        import ray
    except ImportError as error:
        raise SystemExit("--ray needs Ray: install the package `ray` into the Python that dev.py uses.") from error
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)  # Ray's workers search the current folder first: in this project our nodes/ would hide ComfyUI's nodes.py
    ray.init(address, runtime_env={"env_vars": {"PYTHONPATH": os.environ["PYTHONPATH"]}}, log_to_driver=False)
    needs = {"num_gpus": 1} if ray.cluster_resources().get("GPU") else {"num_cpus": 1}
    remote = ray.remote(**needs)(_run)
    try:
        yield lambda sequence: remote.remote(work, results, 1, sequence).future()
    finally:
        ray.shutdown()


def run_all(sequences: list[Sequence], workers: Workers) -> list[dict]:
    """Results in the order of ``sequences``."""
    results: dict[int, dict] = {}
    with workers() as submit:
        jobs = {submit(sequence): index for index, sequence in enumerate(sequences)}
        for job in as_completed(jobs):
            index = jobs[job]
            results[index] = job.result()
            done = sequences[index]
            print(f"{len(results)}/{len(sequences)}  {done.variant.title}: {', '.join(done.names)}; seed {done.seed}")
    return [results[index] for index in range(len(sequences))]
