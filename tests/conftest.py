"""Makes the pack importable as ``cns_pack`` beside a real ComfyUI, and starts servers.

``python dev.py test`` sets ``CNS_COMFYUI`` (a ComfyUI folder) and ``CNS_BASE`` (models, custom_nodes, input, output); of two
pytest processes side by side, the second has a folder like that of its own.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
if "CNS_COMFYUI" not in os.environ:
    raise pytest.UsageError("Run the tests with 'python dev.py test': it prepares the ComfyUI they need.")
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
COMFYUI, SHARED = Path(os.environ["CNS_COMFYUI"]), Path(os.environ["CNS_BASE"])
BASE = SHARED if WORKER == "gw0" else SHARED.with_name(f"{SHARED.name}_{WORKER}")
SLOWEST_FIRST = ("browser", "server", "install", "comfy", "fuzz", "core")

if Path(sys.path[0] or ".").resolve() == ROOT:
    del sys.path[0]  # "python -m pytest" puts it before ComfyUI, whose nodes.py our folder nodes/ would hide
os.environ.pop("PYTHONPATH", None)  # programs that the tests start find their modules as users' do

from demo import headless  # noqa: E402, F401

_spec = importlib.util.spec_from_file_location("cns_pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
_pack = importlib.util.module_from_spec(_spec)
sys.modules["cns_pack"] = _pack
_spec.loader.exec_module(_pack)

from cns_pack.cns_core.comfy_adapter import folders  # noqa: E402

folders.register()  # as ComfyUI makes the pack do; nodes list what lies in them when they are described

from demo.editor.comfy_server import ComfyServer  # noqa: E402
from demo.training.random_checkpoint import NAME, make  # noqa: E402
from tests.support.graphs import write_pictures  # noqa: E402
from tests.support.reliability import Reliability  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--write-reference", action="store_true", help="teach and draw the reference pictures again")
    parser.addoption("--write-reliability", action="store_true", help="write the faults' table into docs/reliability.md")


def pytest_collection_modifyitems(config, items):
    """The slowest come first, so that two processes end together."""
    rank = {folder: number for number, folder in enumerate(SLOWEST_FIRST)}
    items.sort(key=lambda item: (rank[item.path.parent.name], item.get_closest_marker("slow") is None))
    if torch.cuda.is_available():
        return
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    config.hook.pytest_deselected(items=gpu)
    items[:] = [item for item in items if item not in gpu]


@pytest.fixture(scope="session")
def base() -> Path:
    return BASE


@pytest.fixture(scope="session")
def comfyui() -> Path:
    return COMFYUI


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    """Full-size SD-1.5 with random weights, made once and kept."""
    path, own = (base / "models" / "checkpoints" / NAME for base in (SHARED, BASE))
    make(path)
    if not own.exists():
        own.parent.mkdir(exist_ok=True)
        os.link(path, own)
    return own


@pytest.fixture(scope="session")
def pictures(base):
    """Drawn photographs of two things in ComfyUI's input folder."""
    return write_pictures(base / "input" / "cns_test")


@pytest.fixture(scope="session")
def server(checkpoint):
    with ComfyServer(COMFYUI, BASE) as running:
        yield running


@pytest.fixture(scope="session")
def reliability(request):
    """Collects what faults were injected and what they left; with --write-reliability it goes into the docs."""
    collected = Reliability()
    yield collected
    if request.config.getoption("--write-reliability"):
        collected.write(ROOT / "docs" / "reliability.md")
