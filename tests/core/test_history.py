"""What each concept changed: taken back, weakened and left out, on six weights that can be followed by eye."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from cns_pack.cns_core.errors import CNSError
from cns_pack.cns_core.fingerprint import Fingerprint, Projections
from cns_pack.cns_core.history import before_last, index_of, parse_strengths, recorded, with_strengths
from cns_pack.cns_core.kv_layers import KVLayout
from cns_pack.cns_core.masks import NeuronMask
from cns_pack.cns_core.state import CNSState, LearnedConcept
from cns_pack.cns_core.state_file import load_state, save_state
from safetensors.torch import load_file

LAYOUT = KVLayout.from_shapes({"x.attn2.to_k": (1, 3), "x.attn2.to_v": (1, 3)})
EMPTY = CNSState.empty(LAYOUT, Fingerprint(Projections((0.25,), 2**-10)))


def taught(state: CNSState, token: str, positions: list[int], values: list[float]) -> CNSState:
    """The state after one more concept, whose weights at these positions of the flat vector become W0 + values."""
    chosen = np.zeros(LAYOUT.size, dtype=bool)
    chosen[positions] = True
    concept = LearnedConcept(token, "dog", NeuronMask.from_flat(LAYOUT, chosen), torch.ones(1, 3), ("a dog",))
    return state.with_concept(concept, torch.tensor(values))


@pytest.fixture
def three() -> CNSState:
    """Flat deltas 1 1 1 0 0 0, then 1 3 3 2 0 0, then 1 3 7 2 5 0: changes of 1, of 2 and of 4 and 5."""
    first = taught(EMPTY, "<new1>", [0, 1, 2], [1.0, 1.0, 1.0])
    second = taught(first, "<new2>", [1, 2, 3], [3.0, 3.0, 2.0])
    return taught(second, "<new3>", [2, 4], [7.0, 5.0])


def test_what_stood_there_before_is_recorded_where_earlier_concepts_trained(three):
    assert [concept.before.tolist() for concept in three.concepts] == [[], [1.0, 1.0], [3.0]]
    assert three.delta.flat().tolist() == [1, 3, 7, 2, 5, 0]


def test_last_concepts_are_taken_back_one_after_another(three):
    second = before_last(three)
    assert second.delta.flat().tolist() == [1, 3, 3, 2, 0, 0]
    assert [concept.token for concept in second.concepts] == ["<new1>", "<new2>"]
    assert second.delta.mask.equals(second.used_neurons())
    first = before_last(second)
    assert first.delta.flat().tolist() == [1, 1, 1, 0, 0, 0]
    assert before_last(first).delta.mask.count == 0


@pytest.mark.parametrize(
    ("strengths", "flat"),
    [
        ({"<new1>": 0.0}, [0, 2, 6, 2, 5, 0]),
        ({"<new2>": 0.0}, [1, 1, 5, 0, 5, 0]),
        ({"<NEW3>": 0.5}, [1, 3, 5, 2, 2.5, 0]),
        ({"<new1>": 2.0, "<new3>": -1.0}, [2, 4, 0, 2, -5, 0]),
        ({"<new1>": 1.0}, [1, 3, 7, 2, 5, 0]),
        ({}, [1, 3, 7, 2, 5, 0]),
    ],
)
def test_strengths_weigh_what_each_concept_changed(three, strengths, flat):
    changed = with_strengths(three, strengths)
    assert changed.delta.flat().tolist() == flat
    assert changed.tokens.keys() == three.tokens.keys()
    assert three.delta.flat().tolist() == [1, 3, 7, 2, 5, 0]


def test_what_no_named_concept_trained_stays_to_the_bit(three):
    """1 + (1e-8 - 1) is 0 in float32: a sum of all changes would differ."""
    state = taught(taught(taught(EMPTY, "<a>", [0], [1.0]), "<b>", [0, 1], [1e-8, 0.7]), "<c>", [5], [1.0])
    assert torch.equal(with_strengths(state, {"<c>": 0.0}).delta.flat()[:5], state.delta.flat()[:5])


def test_history_survives_the_file_and_can_be_left_out(three, tmp_path):
    save_state(three, tmp_path / "with.safetensors")
    back = load_state(tmp_path / "with.safetensors")
    assert with_strengths(back, {"<new2>": 0.0}).delta.flat().tolist() == [1, 1, 5, 0, 5, 0]
    save_state(three.without_history(), tmp_path / "without.safetensors")
    short, whole = (load_file(tmp_path / f"{name}.safetensors") for name in ("without", "with"))
    assert {name for name in whole if name not in short} == {f"concept.{i}.before" for i in range(3)}
    assert all(torch.equal(whole[name], short[name]) for name in short)  # so older versions read both


def test_without_history(three):
    short = three.without_history()
    assert recorded(three) == [True, True, True]
    assert recorded(short) == [True, False, False]  # whatever is not shared was 0
    with pytest.raises(CNSError, match="does not record what <new3> dog changed"):
        with_strengths(short, {"<new1>": 0.0})
    only = taught(EMPTY, "<new1>", [0], [2.0]).without_history()
    assert with_strengths(only, {"<new1>": 0.25}).delta.flat().tolist() == [0.5, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (torch.zeros(2), r"history of <new3> must be float32 values of 1 weights, but it has \(2,\)"),
        (torch.zeros(1, dtype=torch.float16), "history of <new3> must be float32.*float16"),
        (torch.full((1,), torch.inf), "history of <new3> holds NaN or infinity"),
    ],
)
def test_damaged_history(three, before, message):
    with pytest.raises(CNSError, match=message):
        replace(three, concepts=(*three.concepts[:2], replace(three.concepts[2], before=before)))


@pytest.mark.parametrize(
    ("text", "strengths"),
    [
        ("", {}),
        (" \n", {}),
        ("<new1> 0.5", {"<new1>": 0.5}),
        ("<new1>: 0.5, <new2> 0", {"<new1>": 0.5, "<new2>": 0.0}),
        ("<new1> 1e-1\n<狗>:-2;", {"<new1>": 0.1, "<狗>": -2.0}),
    ],
)
def test_strengths_as_text(text, strengths):
    assert parse_strengths(text) == strengths


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<new1>", "concept_strengths is '<new1>': write tokens with numbers"),
        ("0.5", "concept_strengths is '0.5'"),
        ("<new1>, <new2> 0", "write tokens with numbers"),
        ("<new1> half", "strength of <new1> is 'half', but it must be a number"),
        ("<new1> nan", "strength of <new1> is 'nan'"),
        ("<new1> 1, <NEW1> 2", "names <NEW1> twice"),
    ],
)
def test_text_that_gives_no_strengths(text, message):
    with pytest.raises(CNSError, match=message):
        parse_strengths(text)


def test_unknown_token(three):
    assert index_of(three, " <New2> ") == 1
    with pytest.raises(CNSError, match="no token '<new4>': its tokens are <new1>, <new2>, <new3>"):
        with_strengths(three, {"<new4>": 0.0})
