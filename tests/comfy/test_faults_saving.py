"""Faults while a state is saved: afterwards every state on disk is whole, the earlier ones are as they were."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import comfy.model_management as memory
import pytest
from cns_pack.cns_core.atomic_write import replacing
from cns_pack.cns_core.errors import CNSError
from cns_pack.cns_core.state_file import load_state, save_state

from tests.support.aftermath import damaged_states, same_state
from tests.support.injection import lines_of, spread

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has neither such limits nor such permissions")
SAVING = (save_state, replacing)
KILLS = 5


@pytest.fixture
def saved(dog_state, tmp_path) -> Path:
    """An earlier state on disk."""
    save_state(dog_state, tmp_path / "states" / "earlier.safetensors")
    return tmp_path / "states" / "earlier.safetensors"


def left(earlier: Path, known: bytes) -> Counter[str]:
    """What is wrong in the folder of the earlier state."""
    folder, found = earlier.parent, Counter()
    if folder.is_dir():
        found["damaged state"] += len(damaged_states(folder))
        found["changed earlier state"] += earlier.is_file() and earlier.read_bytes() != known
        found["temporary file"] += sum(path.suffix == ".tmp" for path in folder.iterdir())
    return +found


def saving(state, path: Path, at: int, action) -> str:
    """Saves with something happening before a line that saves; how that ended."""
    try:
        with lines_of(SAVING, at, action):
            save_state(state, path)
    except (CNSError, KeyboardInterrupt):
        return "stopped"
    finally:
        memory.interrupt_current_processing(False)
    return "saved" if not path.parent.is_dir() or same_state(load_state(path), state) else "ended wrongly"


def ctrl_c() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["Cancel", "Ctrl+C", pytest.param("The folder vanishes", marks=posix)])
def test_at_every_line(two_state, saved, reliability, name):
    def vanish() -> None:
        shutil.rmtree(saved.parent, ignore_errors=True)

    action = {"Cancel": memory.interrupt_current_processing, "Ctrl+C": ctrl_c, "The folder vanishes": vanish}[name]
    known, path = saved.read_bytes(), saved.with_name("new.safetensors")
    with lines_of(SAVING) as lines:
        save_state(two_state, path)
    ends, wrong = Counter(), Counter()
    for number in range(len(lines)):
        path.unlink(missing_ok=True)
        ends[saving(two_state, path, number, action)] += 1
        wrong.update(left(saved, known))
    reliability.add(name, "each line of saving", ends, wrong)
    assert not wrong
    assert not ends["ended wrongly"]


@contextmanager
def largest_file(size: int):
    """A limit on the size of files stands for a full disk: the write stops in the middle, too."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@posix
def test_disk_is_full(two_state, saved, reliability):
    known, path, ends, wrong = saved.read_bytes(), saved.with_name("new.safetensors"), Counter(), Counter()
    save_state(two_state, path)
    room = spread(list(range(path.stat().st_size)), 20)
    path.unlink()
    for size in room:
        with largest_file(size):
            ends[saving(two_state, path, -1, None)] += 1
        wrong.update(left(saved, known))
    reliability.add("The disk is full, after the first byte to the last but one", "saving", ends, wrong)
    assert not wrong
    assert ends == {"stopped": len(room)}


@contextmanager
def ordinary_user():
    """Root may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@posix
def test_folder_is_read_only(two_state, reliability):
    with tempfile.TemporaryDirectory() as name:
        earlier = Path(name, "earlier.safetensors")
        save_state(two_state, earlier)
        known = earlier.read_bytes()
        os.chmod(name, 0o555)
        with ordinary_user():
            ends = Counter([saving(two_state, Path(name, "new.safetensors"), -1, None), saving(two_state, earlier, -1, None)])
        wrong = left(earlier, known)
        assert [path.name for path in Path(name).iterdir()] == ["earlier.safetensors"]
        os.chmod(name, 0o755)
    reliability.add("The folder is read-only", "saving", ends, wrong)
    assert not wrong
    assert ends == {"stopped": 2}


@pytest.mark.slow
def test_killed(two_state, saved, reliability):
    """As by kill -9 or the power switch of a task manager, each time while a file is being written."""
    known, ends, wrong = saved.read_bytes(), Counter(), Counter()
    script = Path(__file__).parents[1] / "support" / "save_forever.py"
    for kill in range(KILLS):
        process = subprocess.Popen([sys.executable, script, saved, saved.parent], stdout=subprocess.PIPE)
        assert process.stdout.readline().strip() == b"ready"
        time.sleep(0.01 * kill)
        while not list(saved.parent.glob(".*.tmp")):
            assert process.poll() is None
        process.kill()
        process.communicate()
        ends["killed"] += 1
        wrong.update(left(saved, known))
        for path in saved.parent.glob(".*.tmp"):
            path.unlink()
    reliability.add("kill -9", "saving", ends, wrong)
    assert wrong.keys() <= {"temporary file"}
