"""What every experiment gets: the lab, the seeds, and sequences taught once for all experiments that need them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from benchmarks.science.lab import Lab
from benchmarks.science.paper_protocol import SETS
from benchmarks.science.sequences import Sequence
from benchmarks.science.variants import Variant
from benchmarks.science.workers import Workers, run_all

Order = tuple[str, ...]  # concepts, one after the other


@dataclass
class Bench:
    lab: Lab
    seeds: tuple[int, ...]
    workers: Workers

    def validating(self) -> Bench:
        """With other seeds: other teaching pictures, prompts and noise than those the tables are of."""
        return replace(self, seeds=tuple(1000 + seed for seed in self.seeds))

    def own(self, seed: int, orders: tuple[Order, ...] = SETS) -> Order:
        """The order of concepts a seed is used with: the orders take turns."""
        return orders[self.seeds.index(seed) % len(orders)]

    def runs(
        self, variants: dict[str, Variant], orders: tuple[Order, ...] = SETS, every: bool = True, multi: bool = True
    ) -> dict[str, list[dict]]:
        """For each variant and seed, the result of the seed's own order."""
        sequences = [
            Sequence(variant, self.own(seed, orders), seed, every, multi)
            for variant in variants.values()
            for seed in self.seeds
        ]
        results = iter(run_all(sequences, self.workers))
        return {key: [next(results) for _ in self.seeds] for key in variants}

    def teach(self, variants: Iterable[Variant], orders: tuple[Order, ...]) -> None:
        """Every order with every seed, not measured."""
        sequences = [
            Sequence(variant, names, seed, scored=False) for variant in variants for seed in self.seeds for names in orders
        ]
        run_all(sequences, self.workers)
