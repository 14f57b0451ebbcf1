"""The arrows of the architecture, read from the source."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A module may import from rows above its own, and from its own row.
LAYERS = [
    {"errors", "whole_file"},
    {"config"},
    {"words"},
    {"kv_layers", "fingerprint", "calibration", "captions", "concept"},
    {"masks"},
    {"scoring", "selection", "statistics"},
    {"sparse_delta"},
    {"training", "state"},
    {"history"},
    {"removal", "state_file", "figures"},
    {"comfy_adapter"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def imports_of(path: Path) -> list[str]:
    """Absolute dotted names; relative imports resolved from the repository's root."""
    package = path.relative_to(ROOT).parent.parts
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            stem = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*stem, *([node.module] if node.module else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", files("cns_core"), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_core_modules_import_downwards_only(path):
    parts = path.relative_to(ROOT / "cns_core").with_suffix("").parts
    if parts == ("__init__",):
        return
    rank = RANK[parts[0]]
    for name in imports_of(path):
        top = name.split(".")
        assert top[0] != "nodes", f"{path.name} imports {name}"
        if top[0] == "cns_core" and len(top) > 1:
            assert RANK.get(top[1], rank) <= rank, f"{path.name} imports {name}"
        if parts[0] != "comfy_adapter":
            assert top[0] not in {"comfy", "comfy_api", "folder_paths", "server", "nodes"}, f"{path.name} imports {name}"


def test_every_core_module_has_a_place():
    names = {path.stem for path in (ROOT / "cns_core").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert names - {"__init__"} == set(RANK)


@pytest.mark.parametrize("path", files("nodes"), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_node_files_stay_small(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("path", [*files("cns_core"), *files("nodes")], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_pickle_eval_exec_pip(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"eval", "exec", "print", "__import__"}
    assert not {name.split(".")[0] for name in imports_of(path)} & {"pickle", "subprocess", "pip", "requests", "urllib"}


def test_core_runs_without_comfyui():
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); "
        "import cns_core.training, cns_core.state_file, cns_core.figures, cns_core.selection; "
        "print(json.dumps([m for m in sys.modules if m.split('.')[0] in ('comfy', 'folder_paths', 'comfy_api', 'server')]))"
    )
    out = subprocess.run([sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == []


def test_requirements_and_pyproject_agree():
    listed = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    declared = next(line for line in project.splitlines() if line.startswith("dependencies"))
    assert json.loads(declared.partition("=")[2]) == listed
    assert not {name.split(">")[0].split("=")[0] for name in listed} & {"torch", "torchvision", "numpy", "comfyui"}


def test_manager_finds_every_node_id():
    """ComfyUI-Manager reads ids from the source: a literal node_id in a call named Schema, in a ComfyNode's define_schema."""
    found = set()
    for path in files("nodes"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Schema":
                found |= {keyword.value.value for keyword in node.keywords if keyword.arg == "node_id"}
    assert found == {path.stem for path in (ROOT / "web" / "docs").glob("*.md")}
    assert all(name.startswith("CNS_") for name in found)
