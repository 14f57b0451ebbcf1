"""Each concept's state is saved unasked, and tidying up removes nothing that anybody could miss."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import folder_paths
import numpy as np
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.autosave import KEPT, save_after_training, superseded
from cns_pack.cns_core.comfy_adapter.folders import STATES, state_names, state_path
from cns_pack.cns_core.fingerprint import Fingerprint, Projections
from cns_pack.cns_core.kv_layers import KVLayout
from cns_pack.cns_core.masks import NeuronMask
from cns_pack.cns_core.state import CNSState, LearnedConcept
from cns_pack.cns_core.state_file import load_state, save_state

LAYOUT = KVLayout.from_shapes({"x.attn2.to_k": (16, 24), "x.attn2.to_v": (8, 24)})
START = CNSState.empty(LAYOUT, Fingerprint(Projections((0.25, -1.5), 2**-10), name="some_checkpoint.safetensors"))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """``output/cns/autosave`` of an empty output folder, which Load CNS State lists."""
    output, models = tmp_path / "output", tmp_path / "models" / STATES
    states = ([str(models), str(output / STATES)], {".safetensors"})
    monkeypatch.setitem(folder_paths.folder_names_and_paths, STATES, states)
    monkeypatch.setattr(folder_paths, "output_directory", str(output))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return output / STATES / "autosave"


def taught(state: CNSState, token: str, noun: str = "dog", seed: int = 0) -> CNSState:
    """The state after one more concept; another seed stands for another training of it."""
    generator = np.random.default_rng([seed, *token.encode()])
    mask = NeuronMask.from_flat(LAYOUT, generator.random(LAYOUT.size) < 0.2)
    vectors = torch.from_numpy(generator.standard_normal((1, 24)).astype(np.float32))
    values = torch.from_numpy(generator.standard_normal(mask.count).astype(np.float32))
    return state.with_concept(LearnedConcept(token, noun, mask, vectors, (f"photo of a {token} {noun}",)), values)


def sequence(length: int, seed: int = 0) -> list[CNSState]:
    states = [START]
    for number in range(1, length + 1):
        states.append(taught(states[-1], f"<new{number}>", seed=seed))
    return states[1:]


def present(folder: Path) -> list[list[str]]:
    """The tokens of each state there, sorted."""
    return sorted([concept.token for concept in load_state(path).concepts] for path in folder.iterdir())


def test_name_tells_what_is_in_it_and_when(folder):
    path = save_after_training(taught(taught(START, "<new1>"), "<new2>", "tuxedo cat"))
    assert path.parent == folder
    assert re.fullmatch(r"new1-dog\+new2-tuxedo-cat_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\.safetensors", path.name)


@pytest.mark.parametrize(
    ("noun", "title"),
    [("a/b\\c: d?", "new1-a-b-c-d"), ("狗", "new1-狗"), ("…", "new1"), ("x" * 300, "new1-" + "x" * 43)],
)
def test_every_noun_makes_a_name(folder, noun, title):
    assert save_after_training(taught(START, "<new1>", noun)).name.startswith(f"{title}_2")


def test_many_concepts_are_counted(folder):
    assert save_after_training(sequence(50)[-1]).name.startswith("50-concepts-to-new50-dog_2")


def test_state_is_listed_and_loads_as_it_was(folder):
    state = sequence(2)[-1]
    path = save_after_training(state)
    (folder.parent / "mine.safetensors").write_bytes(path.read_bytes())
    names = state_names()
    assert names[0] == "mine.safetensors"  # autosaves come last: 'a' would come first
    assert Path(names[1]) == Path("autosave", path.name)
    back = load_state(state_path(names[1]))
    assert torch.equal(back.delta.values, state.delta.values)
    assert [concept.name for concept in back.concepts] == ["<new1> dog", "<new2> dog"]


def test_newest_of_a_long_sequence_are_kept(folder):
    assert KEPT == 5
    for state in sequence(7):
        save_after_training(state)
    tokens = [f"<new{number}>" for number in range(1, 8)]
    assert present(folder) == [tokens[:length] for length in (3, 4, 5, 6, 7)]


def test_a_sequence_goes_on_from_a_file(folder):
    """As from Load CNS State, tomorrow."""
    state = START
    for number in range(1, 8):
        path = save_after_training(taught(state, f"<new{number}>"))
        state = load_state(path)
    assert [len(tokens) for tokens in present(folder)] == [3, 4, 5, 6, 7]


def test_second_concept_taught_many_times_from_the_first_state(folder):
    first = taught(START, "<new1>")
    save_after_training(first)
    for seed in range(20):
        save_after_training(taught(first, "<new2>", seed=seed))
    assert present(folder) == [["<new1>"], *[["<new1>", "<new2>"]] * 20]


def test_first_concept_taught_many_times(folder):
    for seed in range(20):
        save_after_training(taught(START, "<new1>", seed=seed))
    assert present(folder) == [["<new1>"]] * 20


def test_a_branch_keeps_what_it_grew_from(folder):
    trunk = sequence(7)
    for state in trunk[:2]:
        save_after_training(state)
    save_after_training(taught(trunk[1], "<other>"))
    for state in trunk[2:]:
        save_after_training(state)
    lengths = [len(tokens) for tokens in present(folder) if "<other>" not in tokens]
    assert lengths == [1, 2, 3, 4, 5, 6, 7]  # 1 and 2 for the branch's sake


def test_other_checkpoints_and_other_trainings_are_other_sequences(folder):
    elsewhere = CNSState.empty(LAYOUT, replace(START.fingerprint, kv=Projections((0.5, -1.5), 2**-10)))
    for state in (taught(START, "<new1>"), taught(START, "<new1>", seed=1), taught(elsewhere, "<new1>")):
        save_after_training(state)
    for state in sequence(7):
        save_after_training(state)
    assert present(folder).count(["<new1>"]) == 2


def test_same_state_is_saved_once(folder):
    path = save_after_training(taught(START, "<new1>"))
    assert save_after_training(taught(START, "<new1>")) == path
    assert len(list(folder.iterdir())) == 1
    path.write_bytes(path.read_bytes()[:-10])  # cut short, it is not there
    assert save_after_training(taught(START, "<new1>")) != path


def test_state_just_saved_stays_however_old_it_is(folder):
    states = sequence(7)
    for state in states:
        save_after_training(state)
    path = save_after_training(states[0])
    assert path.is_file()


def test_two_states_in_one_second_have_two_names(folder):
    paths = {save_after_training(taught(START, "<new1>", seed=seed)) for seed in range(3)}
    assert len(paths) == 3
    assert all(path.is_file() for path in paths)


def test_files_of_others_are_left_alone(folder):
    folder.mkdir(parents=True)
    others = {"notes.txt": b"mine", "lora.safetensors": b"\x08\0\0\0\0\0\0\0{}      ", "bad.safetensors": b"x"}
    for name, blob in others.items():
        (folder / name).write_bytes(blob)
    for state in sequence(7):
        save_after_training(state)
    assert {name: (folder / name).read_bytes() for name in others} == others
    assert len(list(folder.iterdir())) == KEPT + len(others)


def test_one_that_was_renamed_is_kept(folder):
    states = sequence(8)
    best = folder / "my best dog.safetensors"
    save_after_training(states[0]).rename(best)
    for state in states[1:]:
        save_after_training(state)
    assert best.is_file()
    assert len(list(folder.iterdir())) == KEPT + 1


def test_a_copy_goes_when_its_original_goes(folder):
    a, b, c = Path("a"), Path("b"), Path("c")
    six = [str(number) for number in range(6)]
    files = {Path(str(n)): six[: n + 1] for n in range(6)}
    assert superseded(files) == {Path("0")}
    assert superseded({**files, a: six[:1], b: six[:2]}) == {Path("0"), a}
    assert superseded({**files, c: ["0", "another"]}) == set()


def test_what_cannot_be_removed_stays(folder, monkeypatch):
    """As Windows does with a file that somebody reads."""

    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(13, "in use", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda path, **k: refuse(path) if path.suffix == ".safetensors" else None)
        for state in sequence(7):
            save_after_training(state)
    assert len([path for path in folder.iterdir() if path.suffix == ".safetensors"]) == 7
    save_state(sequence(8)[-1], folder / "eighth.safetensors")
    save_after_training(taught(sequence(8)[-1], "<new9>"))
    assert [len(tokens) for tokens in present(folder)] == [5, 6, 7, 8, 9]
