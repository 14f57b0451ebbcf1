"""What every experiment gets: the lab, the seeds, and sequences taught once for all experiments that need them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab import Lab
from paper_protocol import SETS
from sequences import Sequence
from variants import Variant
from workers import run_all


@dataclass
class Bench:
    work: Path
    seeds: tuple[int, ...]
    workers: int

    @cached_property
    def lab(self) -> Lab:
        return Lab.open(self.work)

    def runs(
        self,
        variants: dict[str, Variant],
        orders: tuple[tuple[str, ...], ...] = SETS,
        every: bool = True,
        multi: bool = True,
        paired: bool = False,
    ) -> dict[str, list[list[dict]]]:
        """For each variant and seed, the results of all ``orders`` of concepts; ``paired``: of the seed's own order alone."""
        jobs = [
            (key, place, Sequence(variant, names, seed, every, multi))
            for key, variant in variants.items()
            for place, seed in enumerate(self.seeds)
            for names in ([orders[place % len(orders)]] if paired else orders)
        ]
        runs: dict[str, list[list[dict]]] = {key: [[] for _ in self.seeds] for key in variants}
        for (key, place, _), result in zip(jobs, run_all([job[2] for job in jobs], self.work, self.workers), strict=True):
            runs[key][place].append(result)
        return runs
