"""Folders of a user's pictures, as they really are."""

from __future__ import annotations

import os

import folder_paths
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.folders import (
    STATES,
    concept_folders,
    concept_images,
    new_state_path,
    state_names,
    state_path,
)
from cns_pack.cns_core.errors import CNSError
from cns_pack.nodes.caption.load_concept_images import LoadConceptImages
from PIL import Image


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    root = tmp_path / "input"
    (root / "dog").mkdir(parents=True)
    (root / "notes").mkdir()
    Image.new("RGB", (8, 8), "red").save(root / "dog" / "01.png")
    monkeypatch.setattr(folder_paths, "input_directory", str(root))
    return root


def test_folders_with_images_are_listed_and_unreadable_ones_passed_over(inputs):
    (inputs / "locked").mkdir()
    Image.new("RGB", (8, 8)).save(inputs / "locked" / "01.png")
    (inputs / "locked").chmod(0)
    try:
        readable = os.access(inputs / "locked", os.R_OK)  # root reads everything
        assert concept_folders() == (["dog", "locked"] if readable else ["dog"])
    finally:
        (inputs / "locked").chmod(0o755)


def test_a_link_to_another_disk_works(inputs, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "elsewhere" / "01.png")
    try:
        (inputs / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    except OSError:
        pytest.skip("this system lets no user make links")
    assert concept_folders() == ["dog", "linked"]
    assert [path.name for path in concept_images("linked")] == ["01.png"]


def test_a_link_that_leads_back_ends(inputs):
    try:
        (inputs / "dog" / "everything").symlink_to(inputs, target_is_directory=True)
    except OSError:
        pytest.skip("this system lets no user make links")
    assert concept_folders() == ["dog"]


@pytest.mark.parametrize("folder", ["", "..", "../input/dog", "nowhere", "/etc"])
def test_other_folders_are_refused(inputs, folder):
    with pytest.raises(CNSError, match="There is no folder"):
        concept_images(folder)


def test_hidden_files_are_no_images(inputs):
    (inputs / "dog" / "._01.png").write_bytes(b"what macOS leaves on other disks")
    assert [path.name for path in concept_images("dog")] == ["01.png"]


def test_transparency_becomes_white(inputs):
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(inputs / "dog" / "01.png")
    (pictures, _) = LoadConceptImages.execute("dog").args
    assert torch.equal(pictures[0], torch.ones(1, 8, 8, 3))


def test_broken_files_are_named(inputs):
    (inputs / "dog" / "02.png").write_bytes((inputs / "dog" / "01.png").read_bytes()[:40])
    with pytest.raises(CNSError, match=r"02\.png cannot be read as an image"):
        LoadConceptImages.execute("dog")
    (inputs / "dog" / "02.png").unlink()
    (inputs / "dog" / "01.txt").write_bytes("ein Café".encode("latin-1"))
    with pytest.raises(CNSError, match=r"01\.txt cannot be read: save it as UTF-8"):
        LoadConceptImages.execute("dog")


@pytest.fixture
def states(tmp_path, monkeypatch):
    """``models/cns`` and ``output/cns``, as the pack registers them."""
    folders = [tmp_path / "models" / STATES, tmp_path / "output" / STATES]
    for folder in folders:
        folder.mkdir(parents=True)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, STATES, ([str(folder) for folder in folders], {".safetensors"}))
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return folders


def test_a_friends_file_of_the_same_name_is_not_taken_for_ones_own(states):
    theirs, mine = (folder / "concepts_00001_.safetensors" for folder in states)
    mine.touch()
    assert state_path(mine.name) == mine
    theirs.touch()
    names = state_names()
    assert {state_path(name) for name in names} == {mine, theirs}
    assert all(mine.name in name for name in names)
    with pytest.raises(CNSError, match="There are several states of this name: choose concepts_00001_"):
        state_path(mine.name)


def test_a_new_state_takes_no_name_of_a_file_moved_to_models(states):
    (states[0] / "concepts_00001_.safetensors").touch()
    assert new_state_path("cns/concepts") == states[1] / "concepts_00002_.safetensors"


@pytest.mark.parametrize("prefix", ["", "cns/", "/cns/concepts", "../concepts"])
def test_a_prefix_that_names_no_file_inside_output_is_refused(states, prefix):
    with pytest.raises(CNSError, match="must name a file inside"):
        new_state_path(prefix)


def test_states_are_listed_after_one_of_their_folders_is_gone(states):
    (states[1] / "dogs").mkdir()
    (states[1] / "dogs" / "first.safetensors").touch()
    (states[1] / "second.safetensors").touch()
    assert len(state_names()) == 2
    (states[1] / "dogs" / "first.safetensors").unlink()
    (states[1] / "dogs").rmdir()
    assert state_names() == ["second.safetensors"]


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "nowhere.safetensors"])
def test_only_listed_states_are_read(states, name):
    (states[0].parent / "secret.safetensors").touch()
    with pytest.raises(CNSError, match="There is no state"):
        state_path(name)


def test_an_output_folder_that_cannot_be_made(states, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "makedirs", refuse)
    with pytest.raises(CNSError, match=r"could not be written to .*output: Permission denied"):
        new_state_path("cns/new/concepts")
