"""The paper's findings on the demo model, and what goes beyond them."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from benchmarks.reporting import RESULTS
from benchmarks.science.experiments import EXPERIMENTS, experiment

SCORES = RESULTS / "science" / "scores"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python dev.py science", description=__doc__)
    parser.add_argument("experiments", nargs="*", choices=[*EXPERIMENTS, []], help="all of them where none is named")
    parser.add_argument("--comfyui", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help="folder of the taught states; what is there is not taught again")
    parser.add_argument(
        "--scores",
        type=Path,
        default=SCORES,
        help="folder of each sequence's scores; what is there is not measured again (default: %(default)s)",
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    parser.add_argument("--workers", type=int, default=min(8, os.cpu_count() or 1), help="sequences taught at a time")
    parser.add_argument("--ray", metavar="ADDRESS", help="teach them on this Ray cluster instead; 'auto' finds one")
    arguments = parser.parse_args()
    wanted = list(sys.path)
    from benchmarks.science.bench import Bench
    from benchmarks.science.lab import Lab
    from benchmarks.science.workers import processes, ray_cluster

    chosen = {name: experiment(name) for name in arguments.experiments or EXPERIMENTS}
    sys.path[:] = wanted  # ComfyUI's nodes.py put its comfy/ in front, whose utils the worker processes would find first
    work = (arguments.work or arguments.base / "science").absolute()
    where = work, arguments.scores.absolute()
    workers = partial(ray_cluster, *where, arguments.ray) if arguments.ray else partial(processes, *where, arguments.workers)
    bench = Bench(Lab.open(*where), tuple(range(arguments.seeds)), workers)
    for name, run in chosen.items():
        print(f"\n{name}: {run.__doc__}")
        run(bench)


if __name__ == "__main__":
    main()
