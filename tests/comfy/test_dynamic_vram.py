"""A state in dynamic VRAM, where newer ComfyUI keeps models on most cards. An older one is asked for the same pictures."""

from __future__ import annotations

import gc
import itertools
import weakref

import comfy.lora
import comfy.model_management as memory
import comfy.sample
import comfy.sd
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.apply import dynamic_vram as way
from cns_pack.cns_core.comfy_adapter.apply import live_weights
from cns_pack.cns_core.comfy_adapter.apply.apply import apply_state
from cns_pack.cns_core.comfy_adapter.apply.in_place import StatePatcher
from cns_pack.cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint, pretrained_kv, weight_key
from cns_pack.cns_core.comfy_adapter.sparse_adapter import SparseDeltaAdapter, carries_state
from cns_pack.cns_core.comfy_adapter.static_copies import static_copies
from cns_pack.cns_core.errors import CNSError
from comfy_extras.nodes_model_merging import ModelMergeSimple
from safetensors.torch import load_file

from benchmarks.performance.host_vram import AVAILABLE, CARD, Traffic, dynamic, dynamic_vram, unload
from tests.comfy.conftest import Studio
from tests.support.tiny_models import tiny_clip, tiny_model

WIDTH = 96  # half of the projections are too small for ComfyUI to keep in dynamic VRAM, and are loaded as a whole
LORA = weight_key("middle_block.1.transformer_blocks.0.attn2.to_k")
only_dynamic = pytest.mark.skipif(not AVAILABLE, reason="this ComfyUI has no dynamic VRAM")


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio(tiny_model(width=WIDTH), tiny_clip(hidden_size=WIDTH, intermediate_size=2 * WIDTH))


@pytest.fixture(scope="module")
def states(studio, dog, hat) -> dict:
    first = studio.teach(dog, steps=2)[0]
    return {"first": first, "second": studio.teach(hat, previous=first, steps=2)[0]}


class Card:
    """The same checkpoint in dynamic VRAM, plain and with states."""

    def __init__(self, studio: Studio, states: dict, traffic: Traffic) -> None:
        self.clip, self.states, self.traffic = studio.clip, states, traffic
        self.base = tiny_model(width=WIDTH)
        self.source = {name: weight.clone() for name, weight in self.base.model.state_dict().items()}
        self.plain = dynamic(self.base)

    @torch.inference_mode()
    def applied(self, name: str, strength: float = 1.0, to=None):
        return apply_state(Checkpoint(to or self.plain, self.clip), self.states[name], strength)[0]

    @property
    def range(self):
        return next(iter(self.base.model.dynamic_vbars.values()))


@pytest.fixture
def card(studio, states):
    unload()
    with dynamic_vram() as traffic:
        yield Card(studio, states, traffic)
        unload()


@torch.inference_mode()
def drawn(model) -> torch.Tensor:
    nothing = [[torch.randn(1, 77, WIDTH, generator=torch.Generator().manual_seed(0)), {}]]
    noise, latent = torch.ones(1, 4, 8, 8), torch.zeros(1, 4, 8, 8)
    return comfy.sample.sample(model, noise, 2, 1.0, "euler", "normal", nothing, nothing, latent, disable_pbar=True, seed=0)


def lora(model, size: float = 0.25):
    with torch.inference_mode():
        patched = model.clone()
        patched.add_patches({LORA: ("diff", (torch.full_like(model.model.get_parameter(LORA), size),))})
    return patched


_references: dict[tuple, torch.Tensor] = {}


def expected(states, *changes) -> torch.Tensor:
    """Drawn by a model whose weights have been changed one after another; a number stands for :func:`lora` of that size."""
    if changes not in _references:
        model = tiny_model(width=WIDTH)
        with torch.inference_mode():
            for change in changes:
                if isinstance(change, float):
                    model.model.get_parameter(LORA).add_(change)
                    continue
                name, strength = change
                for layer, positions, values in states[name].delta.layers():
                    model.model.get_parameter(weight_key(layer.name)).view(-1)[positions] += strength * values
        _references[changes] = drawn(model)
    return _references[changes]


def test_every_switch_draws_what_the_changed_weights_draw(card, states):
    ways = {
        (): card.plain,
        (("first", 1.0),): card.applied("first"),
        (("second", 1.0),): card.applied("second"),
        (("second", 0.5),): card.applied("second", 0.5),
    }
    if AVAILABLE:
        assert all(isinstance(model, StatePatcher) and model.is_dynamic() for changes, model in ways.items() if changes)
    for pair in itertools.product(ways, repeat=2):  # every switch there is, and the same model twice in a row
        for changes in pair:
            assert torch.equal(drawn(ways[changes]), expected(states, *changes)), changes
    unload()
    changed = [name for name, weight in card.base.model.state_dict().items() if not torch.equal(weight, card.source[name])]
    assert not changed


@only_dynamic
def test_a_switch_copies_the_projections_and_nothing_else(card):
    first, second = card.applied("first"), card.applied("second")
    everything = card.traffic.of(lambda: drawn(card.plain))
    modules = {key: card.base.model.get_submodule(key.removesuffix(".weight")) for key in first._adapters}
    streamed = {key for key, module in modules.items() if hasattr(module, "_v")}
    assert 0 < len(streamed) < len(modules)
    weights = sum(modules[key].weight.nbytes for key in streamed)
    changes = {model: sum(t.nbytes for key in streamed for t in model._adapters[key].weights) for model in (first, second)}
    for model in (first, second, first):
        assert card.traffic.of(lambda model=model: drawn(model)) == weights + changes[model]
        assert card.traffic.of(lambda model=model: drawn(model)) == 0
    assert card.traffic.of(lambda: drawn(card.plain)) == weights
    patched = card.plain.clone()
    patched.add_patches(first._adapters)
    assert card.traffic.of(lambda: drawn(patched)) == everything + changes[first] > 5 * weights


def test_loras_before_and_after(card, states):
    """Whichever of the two comes first; a LoRA of one branch is none of the other's business."""
    before, after = card.applied("first", to=lora(card.plain)), lora(card.applied("first"))
    alone, state = lora(card.plain), card.applied("first")
    assert isinstance(before, StatePatcher) == AVAILABLE
    assert carries_state(before)
    assert carries_state(after)
    for model, changes in (
        (before, (0.25, ("first", 1.0))),
        (alone, (0.25,)),
        (before, (0.25, ("first", 1.0))),
        (state, (("first", 1.0),)),
        (after, (("first", 1.0), 0.25)),
        (before, (0.25, ("first", 1.0))),
        (card.plain, ()),
    ):
        assert torch.equal(drawn(model), expected(states, *changes))


def test_loaded_but_not_used_in_between(card, states):
    """What is on the card is then still that of the model used last."""
    first, other = card.applied("first"), lora(card.plain)
    for between in (card.plain, other, card.applied("second")):
        drawn(first)
        with torch.inference_mode():
            memory.load_models_gpu([between])
        assert torch.equal(drawn(first), expected(states, ("first", 1.0)))
        with torch.inference_mode():
            memory.load_models_gpu([first])
        assert torch.equal(drawn(card.plain), expected(states))


def test_memory_taken_away(card, states):
    first = card.applied("first")
    for model, changes in ((first, (("first", 1.0),)), (card.plain, ()), (first, (("first", 1.0),))):
        assert torch.equal(drawn(model), expected(states, *changes))
        if AVAILABLE:
            model.partially_unload(None, 1e32)
        assert torch.equal(drawn(model), expected(states, *changes))
        unload()
    if AVAILABLE:
        drawn(first)
        card.range.full = True
        card.range.free_memory(0)
    for model, changes in ((first, (("first", 1.0),)), (card.plain, ()), (first, (("first", 1.0),))):
        assert torch.equal(drawn(model), expected(states, *changes))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("whole", [True, False], ids=["into a weight", "onto the card"])
def test_after_an_error_while_the_state_is_brought_in(card, states, monkeypatch, error, whole):
    first = card.applied("first")
    places = [(live_weights, "add"), (way, "add")] if whole or not AVAILABLE else [(SparseDeltaAdapter, "calculate_weight")]
    for number in range(3):
        drawn(card.plain)
        left, real = iter(range(number)), getattr(*places[0])

        def fails(*arguments, real=real, left=left, **more):
            if next(left, None) is None:
                raise error("injected")
            return real(*arguments, **more)

        for place in places:
            monkeypatch.setattr(*place, fails)
        with pytest.raises(error):
            drawn(first)
        monkeypatch.undo()
        assert torch.equal(drawn(first), expected(states, ("first", 1.0))), number
        assert torch.equal(drawn(card.plain), expected(states)), number


def test_dropped_while_loaded(card, states):
    first = card.applied("first")
    drawn(first)
    with torch.inference_mode():
        memory.load_models_gpu([first])
    del first
    gc.collect()
    assert torch.equal(drawn(card.plain), expected(states))


def test_merges_and_saves_have_the_state(card, states, tmp_path):
    first = card.applied("first")
    for _ in range(2):
        with torch.inference_mode():
            merged = ModelMergeSimple().merge(card.plain, first, 0.0)[0]
            seen = {
                key: comfy.lora.calculate_weight(patches, convert(weight.clone(), inplace=False), key)
                for key, ((weight, convert), *patches) in first.get_key_patches("diffusion_model.").items()
            }
            comfy.sd.save_checkpoint(str(tmp_path / "saved.safetensors"), first)
        saved = load_file(tmp_path / "saved.safetensors")
        for layer, positions, values in states["first"].delta.layers():
            key = weight_key(layer.name)
            wanted = card.source[key].clone()
            wanted.view(-1)[positions] += values
            stored = saved[f"model.{key}"]
            assert torch.equal(stored, wanted.to(stored.dtype)), key
            assert torch.equal(seen[key], wanted), key
            assert torch.equal(pretrained_kv(card.plain)[layer.name], card.source[key]), key
        assert torch.allclose(drawn(merged), expected(states, ("first", 1.0)), atol=1e-5)
        assert torch.equal(drawn(first), expected(states, ("first", 1.0)))


@only_dynamic
def test_without_dynamic_vram_after_all(card, states):
    """What compiling, and prompts with hooks, ask for: the state goes on in another class, and in other weights."""
    static, card.plain.cached_patcher_init = tiny_model(width=WIDTH), (lambda **_: static, ())
    first, both = card.applied("first"), card.applied("first", to=lora(card.plain))
    static_first, static_both = first.clone(disable_dynamic=True), both.clone(disable_dynamic=True)
    assert not static_first.is_dynamic()
    for model, changes in (
        (static_first, (("first", 1.0),)),
        (first, (("first", 1.0),)),
        (static_both, (0.25, ("first", 1.0))),
        (first.get_non_dynamic_delegate(), (("first", 1.0),)),
        (card.plain, ()),
        (static, ()),
        (both, (0.25, ("first", 1.0))),
    ):
        assert torch.equal(drawn(model), expected(states, *changes))


@only_dynamic
def test_an_unknown_kind_of_dynamic_vram_gets_patches(card, states, monkeypatch):
    first = card.applied("first")
    monkeypatch.setattr(way, "_streamed", lambda module: False)
    for model, changes in ((first, (("first", 1.0),)), (card.plain, ()), (first, (("first", 1.0),))):
        assert torch.equal(drawn(model), expected(states, *changes))
    assert any(isinstance(entry[1], SparseDeltaAdapter) for entry in first.patches[LORA])


def test_trainings_one_after_another_read_the_file_once(studio, card):
    """Training needs whole weights, of which dynamic VRAM has none."""
    reads = []
    if AVAILABLE:
        card.plain.cached_patcher_init = (lambda **_: reads.append(1) or tiny_model(width=WIDTH), ())
    pairs = [static_copies.of(Checkpoint(model, studio.clip)) for model in (card.plain, card.plain.clone())]
    assert pairs[0][0].model is pairs[1][0].model
    assert (pairs[0][0].model is card.plain.model) == (not AVAILABLE)
    assert reads == [1] * AVAILABLE
    if AVAILABLE:
        other = dynamic(tiny_model(width=WIDTH))
        with pytest.raises(CNSError, match="cannot load it without dynamic VRAM"):
            static_copies.of(Checkpoint(other, studio.clip))
        static_copies.of(Checkpoint(card.plain, studio.clip))
        assert reads == [1, 1]  # another checkpoint's was asked for in between


@only_dynamic
def test_whole_weights_leave_the_device_where_room_is_needed_and_go_with_their_checkpoint(studio, card):
    card.plain.cached_patcher_init = (lambda **_: tiny_model(width=WIDTH), ())
    static = static_copies.of(Checkpoint(card.plain, studio.clip))[0]
    memory.load_models_gpu([static], force_full_load=True)
    whole = weakref.ref(static.model)
    del static
    drawn(card.plain)
    (loaded,) = (known.model for known in memory.current_loaded_models if known.model.model is whole())
    assert loaded.loaded_size() == loaded.model_size()
    memory.free_memory(1e30, CARD)
    assert loaded.loaded_size() == 0
    del loaded
    card.plain = card.base = None
    gc.collect()
    assert whole() is None
