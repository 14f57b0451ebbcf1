"""Table 1 of the paper: CNS beside the methods it is compared with, ``keep`` and an SCNS-style selection."""

from __future__ import annotations

from benchmarks.science.bench import Bench
from benchmarks.science.paper_protocol import SETS
from benchmarks.science.variants import TABLE_1

from .forgetting import first_concept
from .tables import compare, multi_grid, papers_figures


def table1(bench: Bench) -> None:
    """The paper's seven methods, ``keep`` and SCNS-style selection: one concept and several; what is left of the first one."""
    compare(bench, "table1", TABLE_1, SETS)
    papers_figures(["cns"])
    sequential = {key: variant for key, variant in TABLE_1.items() if variant.how.fuse is None}
    first_concept(bench, sequential, "table1_forgetting")
    multi_grid(bench, TABLE_1, "table1")
