"""Where states are kept: their folders and the names of their files, as they really are."""

from __future__ import annotations

import os
from datetime import datetime

import folder_paths
import pytest
from cns_pack.cns_core.comfy_adapter.file_names import fill_in
from cns_pack.cns_core.comfy_adapter.folders import STATES, new_state_path, state_names, state_path
from cns_pack.cns_core.errors import CNSError
from cns_pack.nodes.files.save_state import SaveState


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
    with pytest.raises(CNSError, match=r"could not be written to .*output as 'cns/new/concepts': Permission denied"):
        new_state_path("cns/new/concepts")


def test_two_paths_to_one_folder_list_each_state_once(states, tmp_path, monkeypatch):
    """As extra_model_paths.yaml gives them, with a link or a detour, or one folder inside another."""
    mine = states[1] / "dogs.safetensors"
    mine.touch()
    detour = states[1] / ".." / STATES
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    paths = [str(folder) for folder in (*states, detour, states[1].parent)]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, STATES, (paths, {".safetensors"}))
    assert state_names() == ["dogs.safetensors"]
    assert state_path("dogs.safetensors").samefile(mine)
    assert state_path(os.path.join(STATES, "dogs.safetensors")).samefile(mine)  # what a workflow may say that was saved before


def test_a_linked_folder_is_one_folder_and_a_link_to_a_state_a_name_for_it(states, monkeypatch):
    states[0].rmdir()
    (states[1] / "dogs_00003_.safetensors").touch()
    try:
        states[0].symlink_to(states[1], target_is_directory=True)
        (states[1] / "best.safetensors").symlink_to("dogs_00003_.safetensors")
    except OSError:
        pytest.skip("this system lets no user make links")
    assert state_names() == ["best.safetensors", "dogs_00003_.safetensors"]


def test_names_from_windows(states):
    (states[1] / "pets").mkdir()
    (states[1] / "pets" / "dogs_00001_.safetensors").touch()
    assert new_state_path("cns\\pets\\dogs") == states[1] / "pets" / "dogs_00002_.safetensors"
    assert state_path("pets\\dogs_00001_.safetensors") == states[1] / "pets" / "dogs_00001_.safetensors"


@pytest.mark.parametrize("prefix", ["cns/" + "d" * 240, "cns/" + "狗" * 90, "d" * 300 + "/dogs"])
def test_a_name_too_long_for_a_file(states, prefix):
    with pytest.raises(CNSError, match=f"could not be written to .* as '{prefix}': .*Choose another filename_prefix"):
        new_state_path(prefix)


@pytest.mark.parametrize("prefix", ["C:\\cns\\dogs", "cns\\..\\..\\dogs", "cns/dogs\0"])
def test_names_of_other_places_are_refused(states, prefix):
    with pytest.raises(CNSError, match="must name a file inside"):
        new_state_path(prefix)


@pytest.mark.parametrize(
    ("name", "filled"),
    [
        ("cns/%date:yyyy-MM-dd%/dogs", "cns/2027-03-09/dogs"),
        ("%date:d.M.yy hh-mm-ss% %date:h:m:s%", "9.3.27 07-05-04 7:5:4"),
        ("%TrainStep.steps% %CNS_TrainStep.steps%", "500 500"),
        ("%TrainStep.keep% %TrainStep.rate%", "true 3e-05"),
        ("%TrainStep.template%", "a _new1_ dog_cat"),
        ("dogs%TrainStep.word%", "dogs"),  # empty
        ("%TrainStep.model% %TrainStep.nothing% %Nobody.steps%", "%TrainStep.model% %TrainStep.nothing% %Nobody.steps%"),
        ("100% %year% %date%", "100% %year% %date%"),  # ComfyUI fills in %year% itself
    ],
)
def test_placeholders(name, filled):
    widgets = {"steps": 500, "keep": True, "rate": 3e-5, "template": "a <new1> dog/cat", "word": "", "model": ["4", 0]}
    prompt = {"7": {"class_type": "CNS_TrainStep", "inputs": widgets, "_meta": {"title": "TrainStep"}}}
    assert fill_in(name, prompt, datetime(2027, 3, 9, 7, 5, 4)) == filled


def test_a_state_is_saved_under_its_date(states, dog_state):
    today = datetime.now()
    _, path = SaveState.execute(dog_state, "cns/%date:yyyy%/%year%").args
    assert path in {str(states[1] / f"{year}" / f"{year}_00001_.safetensors") for year in (today.year, datetime.now().year)}
