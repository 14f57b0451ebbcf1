"""On a ComfyUI that is too old the pack says so in one sentence; its own errors on a new one are never hidden."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cns_pack.cns_core.comfy_adapter.required_version import REQUIRED

ROOT = Path(__file__).parents[2]
NEEDS = "ComfyUI-CNS needs ComfyUI 0.3.75 or newer, but this is"

# As ComfyUI loads a pack.
IMPORT = """
import importlib.util, logging, sys
logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
sys.path.insert(0, sys.argv[1])
spec = importlib.util.spec_from_file_location("pack", sys.argv[2] + "/__init__.py", submodule_search_locations=[sys.argv[2]])
module = sys.modules["pack"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(sorted({"NODE_CLASS_MAPPINGS", "comfy_entrypoint", "WEB_DIRECTORY"} & set(vars(module))))
"""

# By ComfyUI's own loader, which thinks it is an older one.
LOAD = """
import asyncio, logging, sys
logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
sys.path.insert(0, sys.argv[1])
from comfy.cli_args import args
args.cpu = True
import comfyui_version
import nodes
comfyui_version.__version__ = "0.3.43"
print(asyncio.run(nodes.load_custom_node(sys.argv[2])), [name for name in nodes.NODE_CLASS_MAPPINGS if name.startswith("CNS_")])
"""


def python(code: str, comfyui: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code, str(comfyui), str(ROOT)], capture_output=True, text=True, timeout=300)


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


VERSION_0_3_43 = {"comfyui_version.py": '__version__ = "0.3.43"'}


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (VERSION_0_3_43, "0.3.43"),
        ({**VERSION_0_3_43, "comfy_api/__init__.py": "", "comfy_api/latest/__init__.py": ""}, "0.3.43"),
        ({"comfyui_version.py": '__version__ = "0.3"'}, "0.3"),
        ({"comfy_api/__init__.py": ""}, "older"),
        ({}, "older"),
    ],
)
def test_old_comfyui_gets_one_sentence(tmp_path, files, found):
    result = python(IMPORT, write(tmp_path, files))
    assert result.returncode == 0, result.stderr
    assert result.stderr.strip() == f"ERROR {NEEDS} {found}: update ComfyUI, then start it again."
    assert result.stdout.strip() == "[]"  # with any of these ComfyUI would take the pack for loaded


def test_comfyuis_own_loader_counts_it_as_failed_without_a_traceback(comfyui):
    result = python(LOAD, comfyui)
    assert result.returncode == 0, result.stderr
    assert f"{NEEDS} 0.3.43: update ComfyUI, then start it again." in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout.split("\n")[-2] == "False []"


@pytest.mark.parametrize("version", [REQUIRED, "0.4.0", "0.33.0", "1.0"])
def test_errors_on_a_new_comfyui_are_not_hidden(tmp_path, version):
    result = python(IMPORT, write(tmp_path, {"comfyui_version.py": f'__version__ = "{version}"'}))
    assert result.returncode != 0
    assert "No module named" in result.stderr
    assert "needs ComfyUI" not in result.stderr


def test_a_fork_without_a_version_is_tried(tmp_path):
    result = python(IMPORT, write(tmp_path, {"comfy_api/__init__.py": "", "comfy_api/latest.py": ""}))
    assert "No module named 'folder_paths'" in result.stderr
    assert "needs ComfyUI" not in result.stderr


def test_the_version_is_that_of_pyproject():
    assert f'requires-comfyui = ">={REQUIRED}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
