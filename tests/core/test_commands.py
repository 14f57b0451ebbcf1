"""``python dev.py``: each command starts, says what it takes, and refuses what it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def dev(comfyui, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "dev.py", *arguments, "--python", sys.executable, "--comfyui", comfyui]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=300)


def test_setup_says_what_is_used(comfyui):
    done = dev(comfyui, "setup")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["python", sys.executable, "comfyui", str(comfyui), "base", str(ROOT / ".comfyui" / "base")]


@pytest.mark.parametrize(
    ("command", "takes"),
    [
        ("demo", "--checkpoint CHECKPOINT"),
        ("train-demo-model", "--only-judges"),
        ("science", "--seeds SEEDS"),
        ("evaluate", "--concepts CONCEPTS"),
        ("bench", "--pixels PIXELS"),
        ("docs", "thumbnails"),
        ("fuzz", "--minutes MINUTES"),
    ],
)
def test_commands_start(comfyui, command, takes):
    done = dev(comfyui, command, "--help")
    assert done.returncode == 0, done.stderr
    assert takes in done.stdout


@pytest.mark.parametrize("command", ["science", "bench", "docs"])
def test_what_there_is_not(comfyui, command):
    done = dev(comfyui, command, "nonsense")
    assert done.returncode == 2
    assert "invalid choice: 'nonsense'" in done.stderr


def test_a_folder_that_is_no_comfyui(tmp_path):
    done = dev(tmp_path, "setup")
    assert done.returncode == 2
    assert done.stderr == f"dev.py: {tmp_path} is not a ComfyUI folder: it has no main.py.\n"


def test_a_python_that_is_not_there(comfyui, tmp_path):
    command = [sys.executable, ROOT / "dev.py", "setup", "--comfyui", comfyui, "--python", tmp_path / "python"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (2, f"dev.py: There is no Python at {tmp_path / 'python'}.\n")
