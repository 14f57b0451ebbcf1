"""What every experiment gets: the lab, the seeds, and sequences taught once for all experiments that need them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from benchmarks.science.lab import Lab
from benchmarks.science.paper_protocol import SETS
from benchmarks.science.sequences import Score, Sequence, scores_of, taught
from benchmarks.science.variants import Variant
from benchmarks.science.workers import Workers, run_all
from cns_core.state import CNSState

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

    def sequences(self, variants: Iterable[Variant], orders: Iterable[Order]) -> list[Sequence]:
        """Every order with every seed."""
        return [Sequence(variant, names, seed) for variant in variants for seed in self.seeds for names in orders]

    def teach(self, sequences: Iterable[Sequence]) -> None:
        """Several at a time, those whose states have no files; they are not measured."""
        missing = [sequence for sequence in sequences if not sequence.file(self.lab, len(sequence.names)).is_file()]
        if missing:
            run_all([replace(sequence, scored=False) for sequence in missing], self.workers)

    def state(self, sequence: Sequence) -> CNSState:
        """After all its concepts; taught here where it has no file."""
        return taught(self.lab, sequence, len(sequence.names))

    def measured(self, sequences: list[Sequence], what: str, measure: Callable[[Sequence], Score]) -> dict[str, list[float]]:
        """For each seed, means over its sequences of what ``measure`` finds of them, kept with each sequence's scores under the
        name ``what``. Where all of it is there, nothing is taught.
        """
        pairs = [(sequence, scores_of(self.lab, sequence)) for sequence in sequences]
        self.teach(sequence for sequence, kept in pairs if what not in kept.known)
        found = [(sequence.seed, kept.of(what, partial(measure, sequence))) for sequence, kept in pairs]
        return {
            name: [float(np.mean([score[name] for of, score in found if of == seed])) for seed in self.seeds]
            for name in found[0][1]
        }
