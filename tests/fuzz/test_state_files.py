"""A state file that is broken in any way either loads as a valid state or is refused in one sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.page.state_record import state_record
from cns_pack.cns_core.drift import drift
from cns_pack.cns_core.errors import CNSError
from cns_pack.cns_core.figures import state_figures
from cns_pack.cns_core.fingerprint import Fingerprint, Projections
from cns_pack.cns_core.kv_layers import KVLayout
from cns_pack.cns_core.masks import NeuronMask
from cns_pack.cns_core.state import CNSState, LearnedConcept
from cns_pack.cns_core.state_file import load_state, read_lineage, save_state
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save

from tests.support.fuzzing import check_sentence, cut_or_flipped, memory_below, thrown

LAYOUT = KVLayout.from_shapes({"x.attn2.to_k": (5, 3), "x.attn2.to_v": (4, 3)})  # 27 weights: five bits of a mask are unused
MEMORY = 2**24  # for files of about a kilobyte


def a_state() -> CNSState:
    kv, text = Projections((0.25, -1.5), 2**-10), Projections((0.5, 2.0), 2**-7)
    state = CNSState.empty(LAYOUT, Fingerprint(kv, text, 2, "some_checkpoint.safetensors"))
    for number, token in enumerate(("<new1>", "<hat>")):
        mask = NeuronMask.from_flat(LAYOUT, np.arange(27) % (number + 3) == 0)
        concept = LearnedConcept(
            token,
            "dog",
            mask,
            torch.ones(2, 3),
            ("a dog",),
            {"steps": 3},
            {"off": {"<new1> dog": 0.5}, "measured_from": [1, 0.5]},
        )
        state = state.with_concept(concept, torch.arange(mask.count).float())
    return state


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("states") / "s.safetensors"


def _blob(tmp) -> bytes:
    save_state(a_state(), tmp)
    return tmp.read_bytes()


@pytest.fixture(scope="module")
def parts(path):
    """Tensors and metadata of a good file."""
    save_state(a_state(), path)
    tensors = {name: value.clone() for name, value in load_file(path).items()}
    with safe_open(path, framework="pt") as file:
        return tensors, file.metadata()


def check(path, blob: bytes) -> None:
    """Loads, and what loads can be used and saved; or one sentence. Without memory that such a file does not justify."""
    path.write_bytes(blob)
    with memory_below(MEMORY):
        read_lineage(path)
        try:
            state = load_state(path)
        except CNSError as error:
            check_sentence(error)
            return
    assert all(bool(torch.isfinite(values).all()) for _, _, values in state.delta.layers())
    assert len(state.delta.mask.indices) == len(state.delta.values)
    assert all(concept.mask.without(state.delta.mask).count == 0 for concept in state.concepts)
    json.dumps(state_record(state)).encode()
    state_figures(state).encode()
    assert all(isinstance(share, float) for share in drift(state).values())
    save_state(state, path)
    assert load_state(path).delta.mask.equals(state.delta.mask)


@thrown(300)
@given(data=st.data())
def test_cut_or_flipped(path, data):
    check(path, data.draw(cut_or_flipped(_blob(path))))


@thrown(50)
@given(blob=st.binary(max_size=300))
@example(blob=b"\xff" * 8)  # a header of 2**64 - 1 bytes
@example(blob=(10**8).to_bytes(8, "little") + b"{")
def test_any_bytes(path, blob):
    check(path, blob)


NUMBERS = st.one_of(st.integers(-5, 30), st.sampled_from([2**31, 2**63, 2**64, 10**400, 1e308, float("nan"), float("inf")]))
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, st.sampled_from(["", "狗", "\0", "\ud800", "nan", "<new1>", "dog"]))
JSON = st.one_of(LEAVES, st.lists(LEAVES, max_size=3), st.dictionaries(st.sampled_from(["", "x", "token"]), LEAVES, max_size=2))
FIELDS = ["format", "format_version", "layout", "fingerprint", "concepts", "lineage"]
DEEP = "[" * 100_000


def places(value: object, here: tuple = ()) -> list[tuple]:
    """Of everything in a JSON value, from the outside in."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, part in inner for place in places(part, (*here, key)))]


def replaced(value, place: tuple, new: object):
    if not place:
        return new
    value[place[0]] = replaced(value[place[0]], place[1:], new)
    return value


@thrown(300)
@given(data=st.data())
def test_metadata_of_other_types(path, parts, data):
    tensors, metadata = parts
    field = data.draw(st.sampled_from(["layout", "fingerprint", "concepts"]))
    value = json.loads(metadata[field])
    place = data.draw(st.sampled_from(places(value)))
    changed = json.dumps(replaced(value, place, data.draw(JSON)))
    check(path, save(tensors, {**metadata, field: changed}))


@thrown(100)
@given(field=st.sampled_from(FIELDS), text=st.one_of(st.text(max_size=20), st.none()))
@example(field="layout", text=DEEP)
@example(field="lineage", text=DEEP)
@example(field="layout", text="[]")
@example(field="fingerprint", text="[]")
@example(field="fingerprint", text='{"values": [1e999], "precision": 1}')
@example(field="fingerprint", text='{"values": [0.5], "precision": 1' + "0" * 400 + "}")
@example(field="format_version", text="9" * 5000)
@example(field="format_version", text="١")
@example(field="layout", text='{"x": [1' + "0" * 4999 + ", 3]}")
@example(field="layout", text='{"x": [4000000000, 4000000000]}')
def test_metadata_that_is_no_json(path, parts, field, text):
    tensors, metadata = parts
    check(path, save(tensors, {key: value for key, value in {**metadata, field: text}.items() if value is not None}))


DTYPES = [torch.uint8, torch.int8, torch.bool, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64]
DTYPES += [torch.float8_e4m3fn, torch.complex64]
SHAPES = [(0,), (), (1,), (4,), (3, 2), (2, 3), (2, 0), (0, 3), (13,), (14,), (4, 1), (2, 2, 3)]


@thrown(300)
@given(data=st.data())
def test_tensors_of_other_types_and_lengths(path, parts, data):
    tensors, metadata = parts
    name = data.draw(st.sampled_from(sorted(tensors)))
    shape, dtype = data.draw(st.sampled_from([*SHAPES, tuple(tensors[name].shape)])), data.draw(st.sampled_from(DTYPES))
    value = data.draw(st.sampled_from([0, 1, 255, 1e30, float("nan"), float("inf")]))
    changed = torch.from_numpy(np.full(shape, value)).to(dtype)
    check(path, save({**tensors, name: changed}, metadata))


def test_consistent_files_that_are_no_state(path, parts):
    """Bits set behind the last weight, with values for them; a model without a weight."""
    _, metadata = parts
    full, none = torch.full((4,), 255, dtype=torch.uint8), torch.zeros(0, dtype=torch.uint8)
    for layout, union, values in ((metadata["layout"], full, torch.ones(32)), ("{}", none, torch.zeros(0))):
        path.write_bytes(save({"union": union, "values": values}, {**metadata, "layout": layout, "concepts": "[]"}))
        with pytest.raises(CNSError, match=r"s\.safetensors is damaged"):
            load_state(path)


@thrown(100)
@given(data=st.data())
def test_headers_that_claim_what_the_file_has_not(path, data):
    blob = _blob(path)
    length = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + length])
    name = data.draw(st.sampled_from(sorted(set(header) - {"__metadata__"})))
    sizes = st.sampled_from([0, 1, 4, 27, 2**31, 2**40, 2**62, 2**63, 2**64, -1])
    entry = {
        "dtype": data.draw(st.sampled_from(["U8", "F32", "F64", "BF16", "F4", "F8_E8M0", "I64", "BOOL", "C64", "X"])),
        "shape": data.draw(st.lists(sizes, max_size=4)),
        "data_offsets": data.draw(st.one_of(st.just(header[name]["data_offsets"]), st.lists(sizes, min_size=2, max_size=2))),
    }
    header[name] = {**header[name], **{key: entry[key] for key in data.draw(st.sets(st.sampled_from(sorted(entry))))}}
    written = json.dumps(header).encode()
    check(path, len(written).to_bytes(8, "little") + written + blob[8 + length :])
