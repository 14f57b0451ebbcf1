"""Speed and memory of the pack, with its peers measured in the same run."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.performance.tables import TABLES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python dev.py bench", description=__doc__)
    parser.add_argument("goals", nargs="*", choices=[*TABLES, []], help="all of them where none is named")
    parser.add_argument("--comfyui", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--pixels", type=int, help="resolution of the trainings (default: 512 on a GPU, 128 without)")
    parser.add_argument("--steps", type=int, help="steps of the trainings (default: 500 on a GPU, 6 without)")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a single measurement in this process: module and keywords as JSON
    arguments = parser.parse_args()
    if arguments.one:
        measure_here(arguments)
        return
    on_gpu = torch.cuda.is_available()
    pixels, steps = arguments.pixels or (512 if on_gpu else 128), arguments.steps or (500 if on_gpu else 6)
    for goal in arguments.goals or TABLES:
        TABLES[goal](lambda module, **keywords: measure_apart(arguments, module, keywords), pixels, steps)


def measure_apart(arguments: argparse.Namespace, module: str, keywords: dict) -> dict:
    """A measurement in a process of its own, so that its peak memory is its own."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "result.json"
        task = json.dumps({"module": module, "keywords": keywords, "target": str(target)})
        command = [sys.executable, __file__, "--comfyui", arguments.comfyui, "--base", arguments.base, "--one", task]
        print(f"measuring {module} {keywords} …", flush=True)
        subprocess.run(command, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdout=sys.stderr)
        return json.loads(target.read_text(encoding="utf-8"))


def measure_here(arguments: argparse.Namespace) -> None:
    task = json.loads(arguments.one)
    result = importlib.import_module(f"benchmarks.performance.{task['module']}").measure(arguments.base, **task["keywords"])
    Path(task["target"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
