"""A state in a loaded model: written at its elements alone, seen by merges and saves, never by a neighbour."""

from __future__ import annotations

import gc

import comfy.hooks
import comfy.lora
import comfy.model_management as memory
import comfy.sample
import comfy.sd
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.apply import in_place
from cns_pack.cns_core.comfy_adapter.apply.apply import apply_state
from cns_pack.cns_core.comfy_adapter.apply.in_place import StatePatcher
from cns_pack.cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint, pretrained_kv, weight_key
from cns_pack.cns_core.comfy_adapter.sparse_adapter import carries_state
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_model_merging import ModelAdd, ModelMergeSimple
from safetensors.torch import load_file

from tests.support.loading import diff_patch, expected_weights, load, same
from tests.support.tiny_models import tiny_model


@pytest.fixture
def applied(studio, two_state):
    load([studio.model])
    with torch.inference_mode():
        model, _ = apply_state(studio.checkpoint, two_state, 1.0)
    yield model
    load([studio.model])


def unet(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("unet."): value for name, value in weights.items() if name.startswith("unet.")}


def seen_by_others(model: ModelPatcher) -> dict[str, torch.Tensor]:
    """The weights as merge and save nodes of ComfyUI work them out."""
    with torch.inference_mode():
        return {
            key: comfy.lora.calculate_weight(entries[1:], entries[0][1](entries[0][0].float().clone(), inplace=False), key)
            for key, entries in model.get_key_patches("diffusion_model.").items()
        }


def test_switching_moves_nothing(studio, applied, two_state, monkeypatch):
    """Same storage before and after, and ComfyUI never takes the model off its device, as it does for patches."""
    pointers = {name: weight.data_ptr() for name, weight in studio.model.model.state_dict().items()}
    moves = []
    monkeypatch.setattr(type(studio.model.model), "to", lambda self, *_, **__: moves.append(1) or self)
    for model in (applied, studio.model, applied):
        load([model])
    assert not moves
    assert {name: weight.data_ptr() for name, weight in studio.model.model.state_dict().items()} == pointers
    ordinary = studio.model.clone()
    ordinary.add_patches(diff_patch(studio, 0.1)[1])
    load([ordinary])
    assert moves


def test_exact_for_every_switch(studio, applied, dog_state, two_state):
    before = studio.weights()
    with torch.inference_mode():
        first, _ = apply_state(studio.checkpoint, dog_state, 1.0)
    expected = {id(m): expected_weights(studio, s, 1.0) for m, s in ((first, dog_state), (applied, two_state))}
    expected[id(studio.model)] = before
    for model in (first, applied, studio.model, first, applied, first, studio.model):
        load([model])
        assert same(studio.weights(), expected[id(model)])


def test_neighbours_and_merges_see_the_right_weights_while_a_state_is_loaded(studio, applied, two_state):
    expected = unet(expected_weights(studio, two_state, 1.0))
    plain = unet(studio.weights())
    for loaded in (applied, studio.model):
        load([loaded])
        assert same(seen_by_others(applied), {key: expected[key] for key in seen_by_others(applied)})
        assert same(seen_by_others(studio.model), {key: plain[key] for key in seen_by_others(studio.model)})
        kv = pretrained_kv(studio.model)
        assert all(torch.equal(weight, plain[weight_key(name)]) for name, weight in kv.items())


@pytest.mark.parametrize("loaded", [True, False])
def test_merge_nodes(studio, applied, two_state, loaded):
    """Half of the state from a merge with the plain model, whichever of the two comes first."""
    half, full = unet(expected_weights(studio, two_state, 0.5)), unet(expected_weights(studio, two_state, 1.0))
    if loaded:
        load([applied])
    with torch.inference_mode():
        merges = [
            (ModelMergeSimple().merge(applied, studio.model, 0.5)[0], half),
            (ModelMergeSimple().merge(studio.model, applied, 0.5)[0], half),
            (ModelMergeSimple().merge(studio.model, applied, 0.0)[0], full),
        ]
    for merged, expected in merges:
        load([merged])
        now = unet(studio.weights())
        assert all(torch.allclose(now[key], expected[key], atol=1e-6) for key in expected)
    with torch.inference_mode():
        doubled = ModelAdd().merge(studio.model, applied)[0]
    load([doubled])
    key = weight_key(two_state.layout.layers[0].name)
    assert torch.allclose(unet(studio.weights())[key], seen_by_others(doubled)[key])


def test_a_merge_with_another_checkpoint_is_none_of_its_business(studio, applied):
    """Such a merge reads this checkpoint's live weights each time it is loaded, and ComfyUI unloads nobody for it on a CPU."""
    other = tiny_model(seed=1)
    with torch.inference_mode():
        merged = ModelMergeSimple().merge(other, studio.model, 0.5)[0]
    load([merged])
    before = {name: weight.clone() for name, weight in merged.model.state_dict().items()}
    load([other])
    with torch.inference_mode():
        nothing = [[torch.zeros(1, 77, 64), {}]]
        latent = torch.zeros(1, 4, 8, 8)
        comfy.sample.sample(applied, latent, 1, 1.0, "euler", "normal", nothing, nothing, latent, disable_pbar=True, seed=0)
    assert applied in [entry.model for entry in memory.current_loaded_models]
    load([merged])
    assert same(before, merged.model.state_dict())
    load([other])


def test_a_clone_beside_it(studio, applied, two_state):
    """Sampling nodes clone the MODEL and change its options: the state goes along."""
    expected, before = expected_weights(studio, two_state, 1.0), studio.weights()
    load([applied])
    clone = applied.clone()
    clone.model_options["transformer_options"] = {"cns_test": True}
    assert isinstance(clone, StatePatcher)
    assert carries_state(clone)
    for model, weights in ((clone, expected), (studio.model, before), (applied, expected), (clone, expected)):
        load([model])
        assert same(studio.weights(), weights)


def test_a_patcher_that_is_dropped_while_loaded_leaves_nothing(studio, two_state):
    """A node's output is replaced: ComfyUI then takes the plain model, its parent, for what is loaded."""
    load([studio.model])
    before = studio.weights()
    with torch.inference_mode():
        model, _ = apply_state(studio.checkpoint, two_state, 1.0)
    load([model])
    assert not same(studio.weights(), before)
    del model
    gc.collect()
    assert same(studio.weights(), before)
    load([studio.model])
    assert same(studio.weights(), before)


def test_a_dropped_patcher_does_not_disturb_the_one_after_it(studio, applied, dog_state, two_state):
    expected = expected_weights(studio, two_state, 1.0)
    with torch.inference_mode():
        first, _ = apply_state(studio.checkpoint, dog_state, 1.0)
    load([first])
    load([applied])
    del first
    gc.collect()
    assert same(studio.weights(), expected)


def test_lora_on_top_of_a_loaded_state(studio, applied, two_state):
    before, (key, patch) = studio.weights(), diff_patch(studio, 0.25)
    expected = expected_weights(studio, two_state, 1.0)
    load([applied])
    on_top = applied.clone()
    on_top.add_patches(patch)
    load([on_top])
    changed = studio.weights()
    assert torch.allclose(changed.pop(f"unet.{key}"), expected.pop(f"unet.{key}") + 0.25, atol=1e-6)
    assert same(changed, expected)
    load([applied])
    assert same(studio.weights(), expected_weights_again(before, two_state))
    load([studio.model])
    assert same(studio.weights(), before)


def expected_weights_again(before, state):
    expected = {name: value.clone() for name, value in before.items()}
    for layer, positions, values in state.delta.layers():
        expected[f"unet.{weight_key(layer.name)}"].view(-1)[positions] += values
    return expected


def test_hooks_on_top_of_a_loaded_state(studio, applied, two_state):
    """A LoRA that a conditioning hook brings in while sampling."""
    before, (key, patch) = studio.weights(), diff_patch(studio, 0.25)
    expected = expected_weights(studio, two_state, 1.0)
    load([applied])
    hooked = applied.clone()
    hook = comfy.hooks.WeightHook(strength_model=1.0, strength_clip=0.0)
    group = comfy.hooks.HookGroup()
    group.add(hook)
    with torch.inference_mode():
        hooked.add_hook_patches(hook, patch, 1.0)
        load([hooked])
        hooked.patch_hooks(group)
        assert torch.allclose(studio.weights()[f"unet.{key}"], expected[f"unet.{key}"] + 0.25, atol=1e-6)
        hooked.unpatch_hooks()
        assert same(studio.weights(), expected)
    load([studio.model])
    assert same(studio.weights(), before)


def test_partly_loaded_model(studio, applied, two_state):
    """Low VRAM: part of the modules stays on the offload device and is cast when used."""
    before, expected = studio.weights(), expected_weights(studio, two_state, 1.0)
    load([applied])
    size = studio.model.model_size()
    with torch.inference_mode():
        applied.partially_unload(applied.offload_device, size // 2)
        assert applied.model.model_lowvram
        assert same(studio.weights(), expected)
        applied.partially_load(applied.load_device, size)
        assert same(studio.weights(), expected)
        applied.detach()
    assert same(studio.weights(), before)


def test_unloading_everything(studio, applied, two_state):
    before = studio.weights()
    load([applied])
    memory.unload_all_models()
    assert same(studio.weights(), before)
    assert not studio.model.backup
    assert studio.model.model not in in_place._written


def test_saving_a_checkpoint_writes_the_state(studio, applied, two_state, tmp_path):
    expected = {
        key: w for key, w in unet(expected_weights(studio, two_state, 1.0)).items() if key.startswith("diffusion_model.")
    }
    with torch.inference_mode():
        comfy.sd.save_checkpoint(str(tmp_path / "saved.safetensors"), applied)
    saved = load_file(tmp_path / "saved.safetensors")
    for key in studio.model.model_state_dict("diffusion_model."):
        stored, weight = saved[f"model.{key}"], expected[key]
        assert torch.equal(stored.float(), weight.to(stored.dtype).float()), key


def test_weights_in_ram_are_not_changed_while_a_device_reads_them(studio, applied, monkeypatch):
    """With little VRAM part of the weights stay in RAM, and copies of them to the card may still be queued."""
    before, order, real = studio.weights(), [], torch.Tensor.index_copy_
    monkeypatch.setattr(applied, "load_device", torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: order.append("waited"))
    monkeypatch.setattr(torch.Tensor, "index_copy_", lambda *arguments: order.append("wrote") or real(*arguments))
    for change in (applied.inject_model, applied.eject_model):
        order.clear()
        change()
        assert order[:2] == ["waited", "wrote"]
    monkeypatch.undo()
    assert same(studio.weights(), before)


def test_only_its_own_write_is_taken_out(studio, applied, dog_state, two_state):
    with torch.inference_mode():
        first, _ = apply_state(studio.checkpoint, dog_state, 1.0)
    expected = expected_weights(studio, two_state, 1.0)
    load([first])
    first_was_in = first.is_injected
    applied.inject_model()
    first.eject_model()
    assert first_was_in
    assert same(studio.weights(), expected)
    applied.eject_model()


def test_hooks_without_weights_leave_the_state_in(studio, applied, monkeypatch):
    """Packs that schedule prompts change hooks between the two passes of every step."""
    load([applied])
    hooks = [comfy.hooks.HookGroup() for _ in range(2)]
    for group in hooks:
        group.add(comfy.hooks.TransformerOptionsHook(transformers_dict={}))
    touched, real = [], torch.Tensor.index_copy_
    monkeypatch.setattr(torch.Tensor, "index_copy_", lambda *arguments: touched.append(1) or real(*arguments))
    for group in (*hooks, None):
        applied.apply_hooks(group)
        assert applied.current_hooks == group
    assert not touched


def test_a_model_with_a_lora_is_patched(studio, dog_state):
    with torch.inference_mode():
        with_lora = studio.model.clone()
        with_lora.add_patches(diff_patch(studio, 0.25)[1])
        model, _ = apply_state(Checkpoint(with_lora, studio.clip), dog_state, 1.0)
    assert type(model) is ModelPatcher
    assert carries_state(model)


def test_a_load_that_fails_leaves_the_checkpoint_plain(studio, applied, monkeypatch):
    before = studio.weights()
    memory.unload_all_models()
    monkeypatch.setattr(ModelPatcher, "load", lambda *_, **__: (_ for _ in ()).throw(MemoryError("no room")))
    with pytest.raises(MemoryError, match="no room"):
        load([applied])
    monkeypatch.undo()
    assert same(studio.weights(), before)


def test_a_write_that_fails_half_way_is_undone(studio, applied, monkeypatch):
    before, real = studio.weights(), torch.Tensor.index_copy_
    written = []

    def fails_later(self, *arguments):
        written.append(1)
        if len(written) == 3:
            raise MemoryError("no room")
        return real(self, *arguments)

    monkeypatch.setattr(torch.Tensor, "index_copy_", fails_later)
    with pytest.raises(MemoryError, match="no room"):
        load([applied])
    monkeypatch.undo()
    assert len(written) > 3  # two layers were put back
    assert same(studio.weights(), before)


def test_taking_a_state_out_that_fails_half_way_is_made_up_for(studio, applied, monkeypatch):
    before, real = studio.weights(), torch.Tensor.index_copy_
    load([applied])
    written = []

    def fails_once(self, *arguments):
        written.append(1)
        if len(written) == 3:
            raise MemoryError("no room")
        return real(self, *arguments)

    monkeypatch.setattr(torch.Tensor, "index_copy_", fails_once)
    with pytest.raises(MemoryError, match="no room"):
        load([studio.model])
    monkeypatch.undo()
    load([applied])
    load([studio.model])
    assert same(studio.weights(), before)
