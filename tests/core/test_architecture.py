"""The arrows of the architecture, read from the source."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A module may import from rows above its own, and from its own room.
LAYERS = [
    {"cns_core.errors", "cns_core.atomic_write", "cns_core.judge"},
    {"cns_core.config"},
    {"cns_core.words"},
    {"cns_core.kv_layers", "cns_core.fingerprint", "cns_core.calibration", "cns_core.captions", "cns_core.concept"},
    {"cns_core.contexts", "cns_core.crops", "cns_core.image_masks"},
    {"cns_core.masks", "cns_core.regions", "cns_core.evaluation"},
    {"cns_core.scoring", "cns_core.selection", "cns_core.overlaps"},
    {"cns_core.sparse_delta"},
    {"cns_core.training", "cns_core.state"},
    {"cns_core.history", "cns_core.kept_prompts"},
    {"cns_core.drift"},
    {"cns_core.removal", "cns_core.state_file", "cns_core.figures"},
    *(
        {f"cns_core.comfy_adapter.{room}" for room in rooms}
        for rooms in (
            ("file_names", "folders", "interruptions", "out_of_memory", "required_version", "side_effects", "sparse_adapter"),
            ("model_folder",),
            ("autosave", "captioner", "judge", "pictures", "prior"),
            ("checkpoint", "page"),
            ("apply", "neurons", "priors", "static_copies", "regions"),
            ("on_device",),
            ("lesson", "export", "remove"),
            ("taught_folders", "unfinished"),
            ("keeping",),
            ("teach",),
            ("teach_folder",),
        )
    ),
    {"demo.world", "demo.model"},
    {"nodes"},
]
TOOLS = [
    {"demo.headless", "demo.judges", "demo.contact_sheet"},
    {"demo.training"},
    {"demo.editor"},
    {"demo.own_checkpoint", "demo.tour"},
    {"demo.run"},
    {"benchmarks.kept", "benchmarks.reporting"},
    {"benchmarks.baselines"},
    {"benchmarks.evaluate", "benchmarks.performance", "benchmarks.science", "docs.build"},
    {"tests"},
]
RANK = {room: rank for rank, rooms in enumerate([*LAYERS, *TOOLS]) for room in rooms}
SHIPPED = {room for rooms in LAYERS for room in rooms}
COMFYUI = {"comfy", "comfy_api", "comfy_extras", "folder_paths", "latent_preview", "server"}
OWN = ("cns_core", "nodes", "demo", "benchmarks", "docs", "tests")


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str | None:
    """The room of the table that a module of ours lies in; None for packages that hold rooms, and for modules of others."""
    return next((room for room in RANK if module == room or module.startswith(f"{room}.")), None)


def imports_of(path: Path) -> list[str]:
    """Dotted names from the repository's root; of ``from a import b`` both ``a`` and ``a.b``."""
    package = path.relative_to(ROOT).parent.parts
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            stem = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*stem, *([node.module] if node.module else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return [name.removeprefix("cns_pack.") for name in names]


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def named(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.relative_to(ROOT).as_posix())


@named(files(*OWN))
def test_modules_import_downwards_only(path):
    room = room_of(module_of(path))
    for name in imports_of(path):
        other = room_of(name)
        if room and other and other != room:
            assert RANK[other] < RANK[room], f"{path.name} imports {name}"
        if room and room.startswith("cns_core") and "comfy_adapter" not in room:
            assert name.split(".")[0] not in COMFYUI, f"{path.name} imports {name}"


def test_every_module_has_a_room():
    homeless = {module_of(path) for path in files(*OWN) if path.stem != "__init__" and not room_of(module_of(path))}
    assert not homeless
    modules = [module_of(path) for path in files(*OWN)]
    assert not [room for room in RANK if not any(room_of(module) == room for module in modules)]


@named([ROOT / "__init__.py", ROOT / "demo" / "model.py", *files("cns_core", "nodes", "demo/world")])
def test_what_ships_finds_its_modules_under_any_name(path):
    """ComfyUI loads the pack by its folder's name: ``import cns_core`` would find nothing, or another pack's."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
        assert not [name for name in names if name.split(".")[0] in OWN]


def test_no_module_imports_itself_by_way_of_others():
    modules = {module_of(path): path for path in files(*OWN)}
    needs = {module: {name for name in imports_of(path) if name in modules} for module, path in modules.items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " imports ".join([*trail[trail.index(module) :], module])
        for needed in sorted(needs[module] - done - {module}):
            visit(needed, (*trail, module))
        done.add(module)

    for module in modules:
        visit(module, ())


@named(files("cns_core", "nodes"))
def test_functions_take_seven_parameters_at_most(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name not in {"execute", "calculate_weight"}:  # ComfyUI calls these two
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            assert len([name for name in names if name not in {"self", "cls"}]) <= 7, node.name


@named(files("nodes"))
def test_node_files_stay_small(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 150


@named(files("cns_core", "nodes", "demo/world"))
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
