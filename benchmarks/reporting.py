"""Tables as Markdown and figures as JSON with the machine's description."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
# Table 1 of the paper, CNS on SD 1.5 and photographs: the best of 50 images of each prompt, × 100.
PAPERS_CNS = {"CLIP-I, one": 74.88, "CLIP-T, one": 76.95, "CLIP-I, several": 67.21, "CLIP-T, several": 79.22}


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "device": gpu or f"CPU ({_cpu()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads)",
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.*)", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.is_file() else None
    return found[1] if found else platform.processor() or platform.machine()


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown, printed as well."""
    lines = [head, ["---"] * len(head), *rows]
    text = "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
    print("\n" + text + "\n")
    return text


def write(name: str, values: Mapping[str, object]) -> None:
    """``benchmarks/results/<name>.json``; a GPU's figures go beside the CPU's."""
    path = RESULTS / f"{name}{'-gpu' if torch.cuda.is_available() else ''}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), **values}, indent=1), encoding="utf-8")
    print(f"figures   {path.relative_to(ROOT)}")
