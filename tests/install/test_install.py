"""Installed as users do it: comfy-cli's package, put into a clean ComfyUI by ComfyUI-Manager, and taken out again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from demo.editor.comfy_server import ComfyServer
from tests.support.local_registry import Registry

ROOT = Path(__file__).parents[2]
MANAGER = ROOT / "tests" / "support" / "install_with_manager.py"
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
NAME, VERSION = (re.search(rf'^{key} = "(.+)"', PROJECT, re.MULTILINE)[1] for key in ("name", "version"))
SIX = {
    "CNS_CaptionConceptImages",
    "CNS_ComputeBaseNeurons",
    "CNS_ComputeGeneralNeurons",
    "CNS_SelectConceptNeurons",
    "CNS_TrainStep",
    "CNS_ApplyState",
}

SHIPPED = (
    r"__init__\.py|pyproject\.toml|requirements\.txt|\.comfyignore|\.gitignore",
    r"(README|CHANGELOG)\.md|LICENSE",
    r"(cns_core|nodes|demo/world)/([a-z_]+/)*[a-z_0-9]+\.py",
    r"cns_core/calibration_prompts\.txt|demo/world/(new_)?things\.svg",
    r"demo/(__init__|model)\.py|demo/cns_demo_model\.safetensors",
    r"web/[a-z_]+\.(js|css)",
    r"web/strings/[A-Za-z-]+\.js",
    r"web/docs/CNS_[A-Za-z]+(\.md|\.jpg|/zh\.md)",
    r"locales/[A-Za-z-]+/nodeDefs\.json",
    r"example_workflows/[a-z_]+\.(json|jpg)",
    r"subgraphs/[A-Za-z ]+\.json",
    r"docs/[a-z_]+\.(md|svg)|docs/images/[a-z_]+\.(jpg|svg)",
)


def run(*command: object, **options: object) -> str:
    """What it prints; fails with it where the command fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, encoding="utf-8", **options)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """The zip the registry would get of the files as they are now."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in run("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).splitlines():
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    run("git", "init", "-q", cwd=checkout)
    run("git", "add", "-A", cwd=checkout)
    home = {**os.environ, "HOME": str(checkout.parent), "USERPROFILE": str(checkout.parent), "PYTHONUTF8": "1"}
    comfy = (sys.executable, "-m", "comfy_cli", "--skip-prompt", "--no-enable-telemetry", "node")
    assert "All validation checks passed" in run(*comfy, "validate", cwd=checkout, env=home)
    run(*comfy, "pack", cwd=checkout, env=home)
    return checkout / "node.zip"


def test_package_holds_what_users_need_and_no_more(package):
    with zipfile.ZipFile(package) as archive:
        names = set(archive.namelist())
    assert {"__init__.py", "pyproject.toml", "requirements.txt", "LICENSE", "README.md", "web/cns.js"} <= names
    assert {
        "demo/cns_demo_model.safetensors",
        "demo/model.py",
        "demo/world/new_concepts.py",
        "demo/world/things.svg",
        "locales/zh/nodeDefs.json",
    } <= names
    assert {f"example_workflows/{path.name}" for path in (ROOT / "example_workflows").iterdir()} <= names
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "web" / "docs").rglob("*.md")} <= names
    assert not [name for name in names if name.split("/")[0] in {"tests", "benchmarks", "dev.py", ".ci", ".github"}]
    assert not [name for name in names if name.startswith(("docs/build/", "demo/editor/", "demo/judges/", "demo/training/"))]
    assert package.stat().st_size < 30e6


def test_every_file_of_the_package_is_there_on_purpose(package):
    """A new kind of file is either named here or in .comfyignore."""
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
    assert not [name for name in names if not any(re.fullmatch(pattern, name) for pattern in SHIPPED)]
    unused = [pattern for pattern in SHIPPED if not any(re.fullmatch(pattern, name) for name in names)]
    assert not unused


@pytest.fixture(scope="module")
def clean(comfyui, tmp_path_factory) -> Path:
    """A ComfyUI of its own without custom nodes: its folders of code are linked, its files copied, so that they lie here."""
    folder = tmp_path_factory.mktemp("clean") / "ComfyUI"
    folder.mkdir()
    for entry in comfyui.iterdir():
        if entry.name not in {"custom_nodes", "models", "input", "output", "user", "temp"}:
            try:
                if entry.is_file():
                    shutil.copy2(entry, folder)
                else:
                    (folder / entry.name).symlink_to(entry, target_is_directory=True)
            except OSError:  # Windows without the right to make links
                shutil.copytree(entry, folder / entry.name)
    for name in ("custom_nodes", "models", "input", "output", "user"):
        (folder / name).mkdir()
    return folder


def manager(clean: Path, url: str, *command: str) -> str:
    environment = {**os.environ, "COMFYUI_PATH": str(clean), "PYTHONUTF8": "1", "HF_HUB_OFFLINE": "1"}
    return run(
        sys.executable,
        MANAGER,
        url,
        *command,
        "--mode",
        "local",
        env=environment,
        cwd=clean,
    )


def test_install_use_and_uninstall(package, clean, comfyui):
    pack = clean / "custom_nodes" / NAME
    with Registry(NAME, VERSION, package) as url:
        said = manager(clean, url, "install", NAME)
        assert (pack / "__init__.py").is_file(), said
        works(comfyui, clean, NAME)
        renamed = pack.with_name("my-own-name")
        pack.rename(renamed)
        works(comfyui, clean, renamed.name)
        renamed.rename(pack)
        own = clean / "output" / "cns" / "mine.safetensors"
        own.parent.mkdir(parents=True)
        own.write_bytes(b"a user's state")
        manager(clean, url, "uninstall", NAME)
    assert not pack.exists()
    assert own.is_file()


def works(comfyui: Path, clean: Path, folder: str) -> None:
    """Nodes, page scripts, help pages, translations and templates are served, under whatever name the folder has."""
    with ComfyServer(comfyui, clean) as server:
        assert set(server.object_info()) >= SIX, server.log()[-3000:]
        scripts = [path for path in json.loads(server.get("/extensions")) if path.startswith(f"/extensions/{folder}/")]
        assert f"/extensions/{folder}/cns.js" in scripts
        assert b"registerExtension" in server.get(f"/extensions/{folder}/cns.js")
        assert b"# Train CNS Step" in server.get(f"/extensions/{folder}/docs/CNS_TrainStep.md")
        assert "first_steps" in json.loads(server.get("/workflow_templates"))[folder]
        assert json.loads(server.get("/i18n"))["zh"]["nodeDefs"]["CNS_TrainStep"]["display_name"]
