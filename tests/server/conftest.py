from __future__ import annotations

import shutil

import pytest
from graphs import write_pictures


@pytest.fixture(scope="session", autouse=True)
def pictures(base):
    """Drawn photographs of two things in ComfyUI's input folder."""
    return write_pictures(base / "input" / "cns_test")


@pytest.fixture(scope="session", autouse=True)
def _empty_output(base):
    for folder in (base / "output" / "cns", base / "models" / "cns"):
        shutil.rmtree(folder, ignore_errors=True)
