"""``dev.py demo --checkpoint … --images …``: a user's checkpoint, photographs and nouns."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
import pytest
from cns_pack.cns_core.state_file import load_state
from PIL import Image

from demo import own_checkpoint
from demo.editor.graph import find


@pytest.fixture
def photographs(tmp_path) -> list[Path]:
    """A folder of three pictures, one of them described, and one of four; in both a file that is no picture."""
    folders = [tmp_path / name for name in ("first", "second")]
    for folder, count, color in zip(folders, (3, 4), ("gray", "white"), strict=True):
        folder.mkdir()
        for number in range(count):
            Image.new("RGB", (64 + number, 64), color).save(folder / f"{number}.jpg")
        (folder / "notes.txt").write_text("not a picture", encoding="utf-8")
    (folders[0] / "1.txt").write_text("a hat beside a cup", encoding="utf-8")
    return folders


def arguments(checkpoint: Path, base: Path, images: list[Path], *nouns: str) -> argparse.Namespace:
    return argparse.Namespace(checkpoint=checkpoint, base=base, images=images, nouns=nouns, steps=1, resolution=64)


@pytest.mark.slow
def test_own_checkpoint(server, checkpoint, base, photographs, tmp_path, capsys):
    """A noun, and the name of the checkpoint's file, are words that the shipped workflows have for other things."""
    dog = tmp_path / "dog.safetensors"
    dog.symlink_to(checkpoint)
    own_checkpoint.run(server, arguments(dog, base, photographs, "hat", "cup"))
    said = capsys.readouterr().out
    state = load_state(Path(re.search(r"- saved as `(.+)`", said)[1]))
    assert [concept.name for concept in state.concepts] == ["<new1> cup", "<new2> hat"]  # in the order of their names
    assert [concept.figures["images"] for concept in state.concepts] == [4, 3]
    cup, hat = state.concepts
    assert set(cup.prompts) > {"a photo of a <new1> cup", "one <new1> cup, photographed with a phone"}
    assert set(hat.prompts) > {"a photo of a <new2> hat", "a <new2> hat beside a cup"}
    assert all("<new1> cup" in prompt for prompt in cup.prompts)
    with Image.open(re.search(r"picture   (.+)", said)[1]) as picture:
        assert np.asarray(picture).shape == (64, 64, 3)
        drawn = json.loads(picture.info["prompt"])
    assert drawn[find(drawn, "CLIPTextEncode")[0]]["inputs"]["text"] == "photo of a <new1> cup next to a <new2> hat"


def test_two_of_a_kind(base, checkpoint, photographs):
    given = arguments(checkpoint, base, photographs, "dog", "dog")
    assert own_checkpoint.install_pictures(given) == ["<new1> dog", "<new2> dog"]
    counts = [len(list(folder.glob("*.jpg"))) for folder in sorted((base / "input" / own_checkpoint.FOLDER).iterdir())]
    assert counts == [3, 4]


def test_no_photographs(base, checkpoint, photographs):
    for picture in photographs[1].glob("*.jpg"):
        picture.unlink()
    with pytest.raises(SystemExit, match="second holds no pictures"):
        own_checkpoint.install_pictures(arguments(checkpoint, base, photographs, "hat", "cup"))
