from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from cns_pack.cns_core.errors import CNSError
from cns_pack.cns_core.figures import state_figures
from cns_pack.cns_core.fingerprint import Fingerprint, Projections
from cns_pack.cns_core.kv_layers import KVLayout
from cns_pack.cns_core.masks import NeuronMask
from cns_pack.cns_core.state import CNSState, LearnedConcept
from cns_pack.cns_core.state_file import load_state, save_state
from safetensors import safe_open
from safetensors.torch import load_file, save_file

LAYOUT = KVLayout.from_shapes({"x.attn2.to_k": (16, 24), "x.attn2.to_v": (8, 24)})


def learned(token: str, seed: int) -> tuple[LearnedConcept, torch.Tensor]:
    generator = np.random.default_rng(seed)
    mask = NeuronMask.from_flat(LAYOUT, generator.random(LAYOUT.size) < 0.2)
    vectors = torch.from_numpy(generator.standard_normal((2, 24)).astype(np.float32))
    concept = LearnedConcept(
        token,
        "dog",
        mask,
        vectors,
        ("photo of a dog",),
        {"steps": 3},
        {"final_loss": [0.5], "off": {"a": 0.015625}, "measured_from": [2, None]},
    )
    return concept, torch.from_numpy(generator.standard_normal(mask.count).astype(np.float32))


@pytest.fixture
def state() -> CNSState:
    kv, text = Projections((0.25, -1.5), 2**-10), Projections((0.5, 2.0, -0.125), 2**-7)
    state = CNSState.empty(LAYOUT, Fingerprint(kv, text, 2, "some_checkpoint.safetensors"))
    for seed, token in enumerate(("<new1>", "<hat>")):
        concept, values = learned(token, seed)
        state = state.with_concept(concept, values)
    return state


def test_round_trip_is_exact(state, tmp_path):
    path = tmp_path / "deep" / "two.safetensors"
    save_state(state, path)
    back = load_state(path)
    assert back.layout == state.layout
    assert back.fingerprint == state.fingerprint
    assert back.fingerprint.name == "some_checkpoint.safetensors"
    assert back.delta.mask.equals(state.delta.mask)
    assert torch.equal(back.delta.values, state.delta.values)
    for ours, theirs in zip(state.concepts, back.concepts, strict=True):
        assert theirs.mask.equals(ours.mask)
        assert torch.equal(theirs.vectors, ours.vectors)
        assert (theirs.token, theirs.noun, theirs.prompts) == (ours.token, ours.noun, ours.prompts)
        assert (theirs.settings, theirs.figures) == (ours.settings, ours.figures)
    assert os.listdir(path.parent) == ["two.safetensors"]  # no temporary file is left


def test_one_set_of_values_whatever_the_number_of_concepts(state, tmp_path):
    save_state(state, tmp_path / "s.safetensors")
    tensors = load_file(tmp_path / "s.safetensors")
    assert tensors["values"].shape == (state.used_neurons().count,)
    assert tensors["concept.1.mask"].numel() == (state.used_neurons().count + 7) // 8


def test_file_describes_itself(state, tmp_path):
    save_state(state, tmp_path / "s.safetensors")
    with safe_open(tmp_path / "s.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == "cns_state"
    assert metadata["format_version"] == "1"
    fingerprint = json.loads(metadata["fingerprint"])
    assert fingerprint["text_encoder"]["values"] == [0.5, 2.0, -0.125]
    assert fingerprint["clip_skip"] == 2
    assert [concept["token"] for concept in json.loads(metadata["concepts"])] == ["<new1>", "<hat>"]


@pytest.mark.parametrize("kept", [0, 7, 100, 0.5, 0.99])
def test_file_cut_short(state, tmp_path, kept):
    path = tmp_path / "s.safetensors"
    save_state(state, path)
    blob = path.read_bytes()
    path.write_bytes(blob[: kept if isinstance(kept, int) else int(len(blob) * kept)])
    with pytest.raises(CNSError, match=r"s\.safetensors is cut short"):
        load_state(path)


def test_other_files(state, tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "lora.safetensors")
    with pytest.raises(CNSError, match="not a CNS state"):
        load_state(tmp_path / "lora.safetensors")
    with pytest.raises(CNSError, match="no state file"):
        load_state(tmp_path / "none.safetensors")


def rewritten(state: CNSState, path, change) -> None:
    save_state(state, path)
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    change(tensors, metadata)
    save_file(tensors, path, metadata)


def test_newer_format_is_refused(state, tmp_path):
    path = tmp_path / "s.safetensors"
    rewritten(state, path, lambda _, metadata: metadata.update(format_version="2"))
    with pytest.raises(CNSError, match=r"format '2'.*update the pack"):
        load_state(path)


def test_files_without_text_encoder_load_and_say_so(state, tmp_path):
    path = tmp_path / "s.safetensors"
    older = '{"values": [0.25, -1.5], "precision": 0.0009765625, "name": "some_checkpoint.safetensors"}'
    rewritten(state, path, lambda _, metadata: metadata.update(fingerprint=older))
    back = load_state(path)
    assert back.fingerprint == Fingerprint(state.fingerprint.kv)
    assert "- text encoder and CLIP skip not recorded: use those it was taught with" in state_figures(back).split("\n")
    assert "not recorded" not in state_figures(state)
    assert "- taught with CLIP skip 2" in state_figures(state).split("\n")


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, _: tensors.pop("union"),
        lambda tensors, _: tensors.update(values=tensors["values"][:-1].clone()),
        lambda tensors, _: tensors.update(values=tensors["values"] * float("nan")),
        lambda tensors, _: tensors.update({"concept.0.mask": torch.zeros(1, dtype=torch.uint8)}),
        lambda _, metadata: metadata.pop("layout"),
        lambda _, metadata: metadata.update(concepts="{"),
        lambda _, metadata: metadata.update(fingerprint='{"values": [0.25, -1.5]}'),
        lambda _, metadata: metadata.update(fingerprint='{"values": [0.25], "precision": 0.1, "text_encoder": "none"}'),
        lambda _, metadata: metadata.update(concepts='[{"token": "dog"}]'),
        lambda _, metadata: metadata.update(concepts=metadata["concepts"].replace('{"a": 0.015625}', "5")),
        lambda _, metadata: metadata.update(concepts=metadata["concepts"].replace("0.015625", '"much"')),
        lambda _, metadata: metadata.update(concepts=metadata["concepts"].replace("0.015625", "NaN")),
        lambda _, metadata: metadata.update(concepts=metadata["concepts"].replace("[2, null]", "[2]")),
        lambda _, metadata: metadata.update(concepts=metadata["concepts"].replace("[2, null]", "[-1, null]")),
        lambda _, metadata: metadata.update(concepts=metadata["concepts"].replace("[2, null]", "[2, NaN]")),
        lambda _, metadata: metadata.update(concepts=metadata["concepts"].replace("[2, null]", "2")),
    ],
)
def test_inconsistent_file_is_refused(state, tmp_path, change):
    path = tmp_path / "s.safetensors"
    rewritten(state, path, change)
    with pytest.raises(CNSError, match=r"s\.safetensors is damaged"):
        load_state(path)


def test_failed_write_leaves_the_old_file(state, tmp_path, monkeypatch):
    path = tmp_path / "s.safetensors"
    save_state(state, path)
    old = path.read_bytes()

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(CNSError, match="No space left"):
        save_state(CNSState.empty(LAYOUT, state.fingerprint), path)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["s.safetensors"]


@pytest.mark.parametrize("token", ["<{a|b}/c>", "<a\u200db>", "<İ>"])
def test_tokens_that_new_concepts_do_not_get_load(state, tmp_path, token):
    save_state(state.with_concept(*learned(token, 3)), tmp_path / "s.safetensors")
    assert [concept.token for concept in load_state(tmp_path / "s.safetensors").concepts] == ["<new1>", "<hat>", token]


@pytest.mark.parametrize("token", ["dog", "<>", "<a b>", "<a:1.2>", "<a><b>", "<a)>", "<a\\b>", "<a,b>", "<a\nb>"])
def test_words_that_are_no_tokens_do_not(state, tmp_path, token):
    path = tmp_path / "s.safetensors"
    records = [{"token": token, "noun": "dog", "prompts": [], "settings": {}, "figures": {}}]
    rewritten(state, path, lambda _, metadata: metadata.update(concepts=json.dumps(records)))
    with pytest.raises(CNSError, match=r"s\.safetensors is damaged: The token .* is not one name in angle brackets"):
        load_state(path)


def test_what_killed_processes_left_is_removed_and_what_live_ones_write_is_not(state, tmp_path):
    hour = 3600
    ages = {
        ".a_00001_.safetensors.4711.0123abcd.tmp": 2 * hour,  # killed
        ".b_00001_.safetensors.4712.0123abcd.tmp": hour / 2,  # perhaps being written to a slow disk
        ".mine.tmp": 48 * hour,  # somebody else's
        "a_00001_.safetensors": 48 * hour,
    }
    path = tmp_path / "new.safetensors"
    save_state(state, path)
    now = path.stat().st_mtime
    for name, age in ages.items():
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (now - age, now - age))
    save_state(state, path)
    assert sorted(os.listdir(tmp_path)) == sorted([*list(ages)[1:], "new.safetensors"])


def test_leftovers_that_cannot_be_removed_cost_nothing(state, tmp_path):
    leftover = tmp_path / ".a.safetensors.4711.0123abcd.tmp"
    leftover.mkdir()
    os.utime(leftover, (0, 0))
    save_state(state, tmp_path / "new.safetensors")
    assert len(load_state(tmp_path / "new.safetensors").concepts) == 2


def test_a_token_belongs_to_one_concept(state):
    with pytest.raises(CNSError, match=r"<NEW1> already means a dog.*<new2>"):
        state.check_new_token("<NEW1>")
    concept, values = learned("<hat>", 3)
    with pytest.raises(CNSError, match="used twice"):
        state.with_concept(concept, values)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_everybody_may_read_it_whom_the_umask_lets(state, tmp_path):
    before = os.umask(0o022)
    try:
        save_state(state, tmp_path / "s.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "s.safetensors").stat().st_mode & 0o777 == 0o644
