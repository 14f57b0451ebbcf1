"""A folder of folders, taught one after another on a tiny checkpoint; and what a second run leaves alone."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import folder_paths
import pytest
import torch
from cns_pack.cns_core.comfy_adapter import teach_folder as module
from cns_pack.cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from cns_pack.cns_core.comfy_adapter.folders import STATES
from cns_pack.cns_core.comfy_adapter.page.training_progress import Display
from cns_pack.cns_core.comfy_adapter.pictures.folders import collections, subfolders
from cns_pack.cns_core.comfy_adapter.taught_folders import known_state
from cns_pack.cns_core.comfy_adapter.teach_folder import Course, noun_of, sources_of, teach_folder
from cns_pack.cns_core.config import TrainConfig
from cns_pack.cns_core.errors import CNSError
from cns_pack.cns_core.state import CNSState
from cns_pack.cns_core.state_file import save_state
from PIL import Image

from tests.support.tiny_models import tiny_model


@pytest.fixture
def pets(tmp_path, monkeypatch):
    """``input/pets`` with two dogs; states go to a folder of their own."""
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    states = ([str(tmp_path / "output" / STATES)], {".safetensors"})
    monkeypatch.setitem(folder_paths.folder_names_and_paths, STATES, states)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    (tmp_path / "output" / STATES).mkdir(parents=True)
    pets = tmp_path / "input" / "pets"
    for number, name in enumerate(("dog - Rex", "dog - Luna")):
        add(pets / name, number)
    return pets


def add(folder, number: int) -> None:
    folder.mkdir(parents=True)
    for picture in range(3):
        Image.new("RGB", (80, 64), (60 * picture, 80 * number, 120)).save(folder / f"{picture}.jpg")


@pytest.fixture
def run(studio, pets):
    def run(previous="known", checkpoint=None, **changes):
        checkpoint = checkpoint or studio.checkpoint
        config = TrainConfig(steps=2, resolution=64, neuron_lr=1e-3)
        course = Course(**{"folder": "pets", "config": config, "priors": None, "strategy": "concept", **changes})
        shown: list[int] = []
        with torch.inference_mode():
            previous = known("pets", checkpoint) if previous == "known" else previous
            state, summary = teach_folder(
                checkpoint, course, previous, Display(), lambda state: shown.append(len(state.concepts))
            )
        return state, summary, shown

    return run


def known(folder: str, checkpoint) -> CNSState | None:
    return known_state(sources_of(folder).values(), checkpoint)[0]


def names(state) -> list[str]:
    return [concept.name for concept in state.concepts]


def test_two_folders_then_a_third_alone(run, pets):
    state, summary, shown = run()
    assert names(state) == ["<new1> dog", "<new2> dog"]
    assert [concept.settings["folder"] for concept in state.concepts] == ["pets/dog - Luna", "pets/dog - Rex"]
    assert [concept.settings["seed"] for concept in state.concepts] == [0, 1]
    assert shown == [1, 2]
    assert "0 of 2 concepts in `pets` were already known" in summary
    assert summary.count("autosaved as") == 2
    saved = pets.parents[1] / "output" / STATES / "pets_00001_.safetensors"
    assert f"saved as `{saved}`" in summary
    add(pets / "a hat", 2)  # sorted before the dogs: what is known does not hang on the order
    more, summary, shown = run()
    assert names(more) == ["<new1> dog", "<new2> dog", "<new3> a hat"]
    assert shown == [3]
    assert "2 of 3 concepts" in summary
    assert all(torch.equal(a.vectors, b.vectors) for a, b in zip(state.concepts, more.concepts, strict=False))
    assert all(a.mask.equals(b.mask) for a, b in zip(state.concepts, more.concepts, strict=False))
    again, summary, shown = run()
    assert names(again) == names(more)
    assert summary == "- 3 of 3 concepts in `pets` were already known; to teach them again, turn start_over on"


def test_what_was_taught_before_an_error_is_not_taught_again(run, pets, monkeypatch):
    teach, calls = module.teach, []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return teach(*arguments)

    monkeypatch.setattr(module, "teach", failing)
    with pytest.raises(KeyboardInterrupt):
        run()
    state, _, shown = run()
    assert names(state) == ["<new1> dog", "<new2> dog"]
    assert shown == [2]


def test_every_folder_is_read_before_the_first_step(run, pets, monkeypatch):
    monkeypatch.setattr(module, "teach", lambda *_: pytest.fail("a training began"))
    (pets / "dog - Rex" / "0.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(CNSError, match=r"0\.txt cannot be read"):
        run()


def test_starting_over_and_adding_to_another_state(run, dog_state):
    first, _, _ = run(previous=None)
    over, _, shown = run(previous=None)
    assert shown == [1, 2]
    assert torch.equal(first.delta.values, over.delta.values)
    added, _, _ = run(previous=dog_state)
    assert names(added) == ["<new1> dog", "<new2> dog", "<new3> dog"]


def test_a_state_of_another_checkpoint_or_folder_is_passed_over(run, studio, pets):
    run()
    other = Checkpoint(tiny_model(seed=7), studio.clip, studio.vae)
    assert known("pets", studio.checkpoint) is not None
    assert known("pets", other) is None
    shutil.copytree(pets, pets.parent / "more pets")
    assert known("more pets", studio.checkpoint) is None
    for path in (pets.parents[1] / "output" / STATES).rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-9])
    assert known("pets", studio.checkpoint) is None


def test_other_pictures_in_a_folder_of_the_same_name(run, pets):
    """A friend's state was taught from a folder called so, too; and one's own folders are filled with something else."""
    first, _, _ = run()
    for name in ("dog - Rex", "dog - Luna"):
        shutil.rmtree(pets / name)
        add(pets / name, 3)
    over, _, shown = run()
    assert shown == [1, 2]
    assert not torch.equal(first.delta.values, over.delta.values)
    Image.new("RGB", (80, 64), (1, 2, 3)).save(pets / "dog - Rex" / "0.jpg")
    same, summary, shown = run()
    assert torch.equal(same.delta.values, over.delta.values)
    assert "not taught again, though pictures or captions have changed: `dog - Rex`; turn start_over on" in summary


def test_what_was_taught_on_top_in_another_way_stays(run, studio, pets, hat):
    state, _, _ = run()
    taught = studio.teach(replace(hat, token="<new3>"), previous=state, steps=2)[0]
    saved = pets.parents[1] / "output" / STATES / "with a hat.safetensors"
    save_state(taught, saved)
    os.utime(saved, (1, 1))  # older than what it goes on from, as after a copy
    add(pets / "cat", 2)
    more, _, _ = run()
    assert names(more) == ["<new1> dog", "<new2> dog", "<new3> hat", "<new4> cat"]


def test_errors_name_the_folder_before_the_first_step(run, pets, monkeypatch):
    monkeypatch.setattr(module, "teach", lambda *_: pytest.fail("a training began"))
    add(pets / "house", 2)
    wide = Image.new("L", (320, 64))
    wide.paste(255, (0, 0, 20, 64))
    for number in range(3):
        Image.new("RGB", (320, 64)).save(pets / "house" / f"{number}.jpg")
    wide.save(pets / "house" / "1-masklabel.png")
    with pytest.raises(CNSError, match="house: The mask of image 2 marks nothing in the square"):
        run()
    (pets / "house").rename(pets / " - Rex")
    with pytest.raises(CNSError, match=" - Rex: The class noun is empty"):
        run()


def test_the_summary_says_what_was_left_out_and_enlarged(run, pets):
    (pets / "dog - Rex" / "broken.jpg").write_bytes(b"no picture")
    _, summary, _ = run(config=TrainConfig(steps=2, resolution=128, neuron_lr=1e-3))
    assert "- `dog - Rex`: broken.jpg: left out (" in summary
    assert "- 3 of 3 concept images were enlarged to 128 px" in summary


def test_captions_and_masks(run, pets):
    shutil.rmtree(pets / "dog - Luna")
    (pets / "dog - Rex" / "0.txt").write_text("my dog on a red carpet", encoding="utf-8")
    Image.new("L", (80, 64), 255).crop((0, 0, 40, 64)).resize((80, 64)).save(pets / "dog - Rex" / "1-masklabel.png")
    state, summary, _ = run()
    assert "my <new1> dog on a red carpet" in state.concepts[0].prompts
    assert "a close-up photo of a <new1> dog in the middle of the picture" in state.concepts[0].prompts
    assert "3 pictures, 1 with a caption, 1 with a mask" in summary
    assert "pictures without a caption (2) get one such as 'a close-up photo of a dog in the middle of the picture'" in summary
    described, summary, _ = run(previous=None, captioner=lambda images: {name: f"a dog, number {name}" for name in images})
    assert "a <new1> dog, number 3 of dog - Rex" in described.concepts[0].prompts
    assert "a <new1> dog, number 1 of dog - Rex" not in described.concepts[0].prompts
    assert "without a caption" not in summary


def test_the_captioner_is_loaded_once(run):
    asked = []

    def captioner(images):
        asked.append(list(images))
        return {name: f"a dog, {name}" for name in images}

    state, _, _ = run(captioner=captioner)
    assert asked == [[f"{number} of dog - {name}" for name in ("Luna", "Rex") for number in (1, 2, 3)]]
    assert "a <new2> dog, 2 of dog - Rex" in state.concepts[1].prompts


def test_wrong_wires_are_noticed_before_a_picture_is_read(run, studio, dog, monkeypatch):
    monkeypatch.setattr(module, "load_pictures", lambda *_: pytest.fail("pictures were read"))
    with pytest.raises(CNSError, match="general_neurons input got selected neurons: wire Compute General Neurons there"):
        run(general=studio.neurons(dog))
    other = Checkpoint(tiny_model(seed=7), studio.clip, studio.vae)
    with pytest.raises(CNSError, match="The previous state was made for the checkpoint"):
        run(previous=CNSState.empty(other.layout, other.fingerprint))


def test_folders_of_folders(pets):
    assert collections() == ["pets"]
    for name in (".ipynb_checkpoints", "@eaDir", "notes"):
        (pets / name).mkdir()
    Image.new("RGB", (8, 8)).save(pets / "@eaDir" / "1.jpg")
    (pets / "Thumbs.db").touch()
    assert subfolders("pets") == ["dog - Luna", "dog - Rex"]
    with pytest.raises(CNSError, match="holds no folders with pictures: put each concept's pictures into a folder"):
        subfolders(os.path.join("pets", "dog - Rex"))
    with pytest.raises(CNSError, match="There is no folder"):
        subfolders("../input/pets")


@pytest.mark.parametrize(
    ("name", "noun"), [("dog", "dog"), ("dog - Rex", "dog"), ("t-shirt", "t-shirt"), ("hat - a - b", "hat")]
)
def test_the_noun_is_before_the_dash(name, noun):
    assert noun_of(name) == noun
