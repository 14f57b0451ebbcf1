"""``dev.py demo --checkpoint … --images …``: a user's checkpoint, photographs and nouns."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
from cns_pack.cns_core.state_file import load_state
from PIL import Image

from demo import own_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture
def photographs(tmp_path) -> list[Path]:
    """Two folders, one with a picture more than is taken, and with a file that is no picture."""
    folders = [tmp_path / name for name in ("cats", "mugs")]
    for folder, count, color in zip(folders, (3, 4), ("gray", "white"), strict=True):
        folder.mkdir()
        for number in range(count):
            Image.new("RGB", (64 + number, 64), color).save(folder / f"{number}.jpg")
        (folder / "notes.txt").write_text("not a picture", encoding="utf-8")
    return folders


def arguments(checkpoint: Path, base: Path, images: list[Path]) -> argparse.Namespace:
    return argparse.Namespace(checkpoint=checkpoint, base=base, images=images, nouns=("cat", "mug"), steps=1, resolution=64)


def test_own_checkpoint(server, checkpoint, base, photographs, capsys):
    own_checkpoint.run(server, arguments(checkpoint, base, photographs))
    said = {line[:10].strip(): line[10:] for line in capsys.readouterr().out.splitlines()}
    state = load_state(Path(said["state"].rpartition(" (")[0]))
    assert [concept.name for concept in state.concepts] == ["<new1> cat", "<new2> mug"]
    assert state.concepts[0].prompts[0].startswith("a <new1> cat lies on short grass in front of a wooden fence")
    assert [concept.figures["images"] for concept in state.concepts] == [3, 3]
    assert np.asarray(Image.open(said["picture"])).shape == (64, 64, 3)


def test_too_few_photographs(base, checkpoint, photographs):
    (photographs[0] / "2.jpg").unlink()
    with pytest.raises(SystemExit, match="cats holds 2 images, but 3 are needed"):
        own_checkpoint.install_pictures(arguments(checkpoint, base, photographs))
