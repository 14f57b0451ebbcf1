from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.fuzzing import counts


@pytest.fixture(scope="session", autouse=True)
def _counts():
    """``python dev.py fuzz`` adds up what its rounds have thrown."""
    yield
    if "CNS_FUZZ_COUNTS" in os.environ:
        Path(os.environ["CNS_FUZZ_COUNTS"]).write_text(json.dumps(counts), encoding="utf-8")
