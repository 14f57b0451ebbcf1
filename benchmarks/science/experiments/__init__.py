"""One file for each question; ``EXPERIMENTS`` says in which, in the order they run in."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.science.bench import Bench

EXPERIMENTS = {
    "base": "base_model",
    # the paper's
    "fig3": "masks",
    "fig7": "masks",
    "rates": "sweeps",
    "table1": "table1",
    "table2": "tables",
    "fig5": "forgetting",
    # ours
    "sweeps": "sweeps",
    "practice": "practice",
    "failures": "failures",
    "regions": "regions",
    "recipe": "tables",
    "twenty": "twenty",
    "scale": "scale",
    "removal": "removal",
}


def experiment(name: str) -> Callable[[Bench], None]:
    """Its file is imported here and not above: it imports ComfyUI, which ``--help`` does not need."""
    return getattr(import_module(f"{__name__}.{EXPERIMENTS[name]}"), name)
