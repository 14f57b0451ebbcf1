from __future__ import annotations

import shutil

import pytest

from tests.support.graphs import free


@pytest.fixture(scope="session", autouse=True)
def _pictures_are_there(pictures):
    pass


@pytest.fixture(scope="module", autouse=True)
def _models_are_unloaded(server):
    """A full-size model takes five gigabytes, and other modules start servers of their own."""
    yield
    free(server)


@pytest.fixture(scope="session", autouse=True)
def _empty_output(base):
    for folder in (base / "output" / "cns", base / "models" / "cns"):
        shutil.rmtree(folder, ignore_errors=True)
