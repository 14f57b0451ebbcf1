"""Which text encoder and CLIP skip a state belongs to, through ComfyUI's own CLIP, patchers and nodes."""

from __future__ import annotations

import logging
from pathlib import Path

import comfy.ops
import comfy.sd
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.apply.apply import apply_state
from cns_pack.cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint, clip_skip, pretrained_kv, text_encoder_rows
from cns_pack.cns_core.comfy_adapter.neurons import compute_neurons, select_neurons
from cns_pack.cns_core.errors import CNSError
from cns_pack.cns_core.figures import state_figures
from cns_pack.cns_core.fingerprint import Projections
from cns_pack.cns_core.kv_layers import find_kv_modules
from cns_pack.cns_core.state_file import load_state
from comfy.quant_ops import QuantizedTensor

import nodes as comfy_nodes
from tests.support.loading import encode, load, same
from tests.support.tiny_models import tiny_clip, tiny_model

OLDER = Path(__file__).parents[1] / "data" / "state_without_text_encoder.safetensors"


@torch.inference_mode()
def skipping(clip: comfy.sd.CLIP, layers: int) -> comfy.sd.CLIP:
    return comfy_nodes.CLIPSetLastLayer().set_last_layer(clip, -layers)[0]


def text_of(clip: comfy.sd.CLIP) -> Projections:
    with torch.inference_mode():
        return Projections.of(text_encoder_rows(clip))


@pytest.fixture(scope="module")
def other_clip() -> comfy.sd.CLIP:
    return tiny_clip(seed=4)


def test_clip_skip_is_what_the_text_encoder_makes_of_it(studio):
    assert clip_skip(studio.clip) == 1
    # The tiny text encoder has two layers; beyond its own ComfyUI takes the last.
    assert [clip_skip(skipping(studio.clip, layers)) for layers in (1, 2, 3, 24)] == [1, 2, 1, 1]
    with torch.inference_mode():
        plain, *skipped = (encode(clip, "a dog") for clip in (studio.clip, *(skipping(studio.clip, n) for n in (1, 2, 3))))
    assert [torch.equal(plain, features) for features in skipped] == [True, False, True]


def test_asking_for_the_clip_skip_changes_no_prompt(studio):
    with torch.inference_mode():
        before = encode(studio.clip, "a dog")
        clip_skip(skipping(studio.clip, 2))
        assert torch.equal(encode(studio.clip, "a dog"), before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_text_encoder_is_known_in_every_precision(studio, other_clip, dtype):
    with torch.inference_mode():
        stored = tiny_clip(dtype=dtype)
    assert stored.cond_stage_model.clip_l.transformer.text_model.encoder.layers[0].mlp.fc1.weight.dtype == dtype
    assert text_of(stored).matches(text_of(studio.clip))
    assert not text_of(stored).matches(text_of(other_clip))


def test_text_projection_does_not_count(studio):
    """SD-1.5 has none and CLIP-L's own file has; the features are the same."""
    with torch.inference_mode():
        other = tiny_clip()
        other.cond_stage_model.clip_l.transformer.text_projection.weight.mul_(3)
    assert text_of(other) == text_of(studio.clip)


def lora(clip: comfy.sd.CLIP) -> comfy.sd.CLIP:
    name = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    weights = {f"{name}.lora_up.weight": torch.ones(128, 1), f"{name}.lora_down.weight": torch.ones(1, 64)}
    _, patched = comfy.sd.load_lora_for_models(None, clip, weights, 1.0, 1.0)
    assert patched.patcher.patches
    return patched


def test_a_lora_on_clip_is_fine_at_apply_even_where_it_is_patched_in(studio, dog_state):
    patched = lora(studio.clip)
    weight = studio.clip.cond_stage_model.clip_l.transformer.text_model.encoder.layers[0].mlp.fc1.weight
    before = weight.clone()
    load([patched.patcher])
    now = studio.clip.cond_stage_model.clip_l.transformer.text_model.encoder.layers[0].mlp.fc1.weight
    assert not torch.equal(now, before)
    assert text_of(patched) == text_of(studio.clip) == dog_state.fingerprint.text
    with torch.inference_mode():
        _, taught = apply_state(Checkpoint(studio.model, patched), dog_state, 1.0)
    assert taught.patcher.patches
    load([studio.clip.patcher])


def test_a_state_records_text_encoder_and_clip_skip(studio, dog, dog_state):
    assert dog_state.fingerprint.text == text_of(studio.clip)
    assert dog_state.fingerprint.clip_skip == 1
    skipped = type(studio)(studio.model, skipping(studio.clip, 2)).teach(dog, steps=1)[0]
    assert skipped.fingerprint.clip_skip == 2
    with torch.inference_mode(), pytest.raises(CNSError, match=r"made with CLIP skip 2, .* has CLIP skip 1: put CLIP Set Last"):
        apply_state(studio.checkpoint, skipped, 1.0)


def test_apply_refuses_another_text_encoder_or_clip_skip(studio, other_clip, dog_state):
    with torch.inference_mode():
        with pytest.raises(CNSError, match=r"The state was made with the text encoder \w+, but the CLIP wired in has \w+"):
            apply_state(Checkpoint(studio.model, other_clip), dog_state, 1.0)
        with pytest.raises(CNSError, match=r"made with CLIP skip 1, .* has CLIP skip 2: take out CLIP Set Last Layer"):
            apply_state(Checkpoint(studio.model, skipping(studio.clip, 2)), dog_state, 1.0)


def test_training_refuses_neurons_and_states_of_another_text_encoder_or_clip_skip(studio, other_clip, dog, hat, dog_state):
    neurons = studio.neurons(dog)
    for clip, what in ((other_clip, "text encoder"), (skipping(studio.clip, 2), "CLIP skip 1")):
        other = type(studio)(studio.model, clip)
        with pytest.raises(CNSError, match=rf"The neuron mask was made with.*{what}.*wire the same MODEL and CLIP into all"):
            other.teach(dog, neurons=neurons)
        with pytest.raises(CNSError, match=rf"The previous state was made with.*{what}"):
            other.teach(hat, previous=dog_state)


def test_selection_refuses_neurons_and_states_of_another_text_encoder_or_clip_skip(studio, other_clip, dog_state):
    with torch.inference_mode():
        general = compute_neurons(studio.checkpoint, ["a lake"], 0.3, "general", None)
        for clip, what in ((other_clip, "text encoder"), (skipping(studio.clip, 2), "CLIP skip 1")):
            base = compute_neurons(Checkpoint(studio.model, clip), ["a dog"], 0.3, "base", None)
            with pytest.raises(CNSError, match=rf"The mask of the general neurons was made with.*{what}"):
                select_neurons(base, general, "concept", 0)
            same_clip = compute_neurons(Checkpoint(studio.model, clip), ["a lake"], 0.3, "general", None)
            with pytest.raises(CNSError, match=rf"The state was made with.*{what}"):
                select_neurons(base, same_clip, "concept", 0, dog_state)


def test_an_older_state_loads_applies_and_says_what_it_does_not_know(studio, other_clip, caplog):
    """Of format 1 before text encoder and CLIP skip were recorded, taught on the tiny model."""
    state = load_state(OLDER)
    assert [concept.name for concept in state.concepts] == ["<new1> dog"]
    assert "text encoder and CLIP skip not recorded" in state_figures(state)
    before = studio.weights()
    with torch.inference_mode(), caplog.at_level(logging.WARNING):
        model, clip = apply_state(studio.checkpoint, state, 1.0)
    assert "does not record its text encoder and CLIP skip" in caplog.text
    load([model])
    assert not same(studio.weights(), before)
    assert torch.equal(clip.tokenizer.cns_tokens["<new1>"], state.concepts[0].vectors)
    load([studio.model])
    with torch.inference_mode():
        apply_state(Checkpoint(studio.model, skipping(other_clip, 2)), state, 1.0)
        with pytest.raises(CNSError, match=r"made for the checkpoint with fingerprint tiny\.safetensors \(.*: load tiny\.saf"):
            apply_state(Checkpoint(tiny_model(seed=9), studio.clip), state, 1.0)


def test_the_next_concept_completes_an_older_state(studio, hat):
    state = studio.teach(hat, previous=load_state(OLDER), steps=1)[0]
    assert state.fingerprint.text == text_of(studio.clip)
    assert state.fingerprint.clip_skip == 1
    assert state.fingerprint.name == "tiny.safetensors"


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_float8_is_refused(studio, dog_state, dtype):
    coarse = tiny_model(dtype=dtype)
    with torch.inference_mode():
        with pytest.raises(CNSError, match=rf"keeps its weights in {str(dtype)[6:]}, too coarse for a state's changes"):
            apply_state(Checkpoint(coarse, studio.clip), dog_state, 1.0)
        apply_state(Checkpoint(coarse, studio.clip), dog_state, 0.0)


def quantized(weight: torch.Tensor, kind: str) -> torch.nn.Parameter:
    """ComfyUI's own quantized tensors, and numbers that only their loader understands, as in GGUF files."""
    stored = QuantizedTensor.from_float(weight.float(), "TensorCoreFP8Layout") if kind == "class" else weight.to(torch.uint8)
    return torch.nn.Parameter(stored, requires_grad=False)


@pytest.mark.parametrize("kind", ["class", "integers"])
def test_quantized_weights_are_refused(studio, kind):
    expected = r"is quantized \(\S+\.weight is a (QuantizedTensor of torch\.\w+|Parameter of torch\.uint8)\), .*load the"
    with torch.inference_mode():
        model, clip = tiny_model(), tiny_clip()
        attention = model.model.diffusion_model.input_blocks[1][1].transformer_blocks[0].attn2
        attention.to_k.weight = quantized(attention.to_k.weight, kind)
        with pytest.raises(CNSError, match=f"MODEL wired in {expected}"):
            Checkpoint(model, studio.clip)
        layer = clip.cond_stage_model.clip_l.transformer.text_model.encoder.layers[1]
        layer.mlp.fc1.weight = quantized(layer.mlp.fc1.weight, kind)
        with pytest.raises(CNSError, match=f"CLIP wired in {expected}"):
            Checkpoint(studio.model, clip).fingerprint  # noqa: B018


@pytest.mark.skipif(not hasattr(comfy.ops, "scaled_fp8_ops"), reason="newer ComfyUI loads these as quantized tensors")
def test_weights_stored_with_a_scale_are_refused():
    """The numbers in the file are then not the weights."""
    model = tiny_model(dtype=torch.float8_e4m3fn)
    attention = model.model.diffusion_model.input_blocks[1][1].transformer_blocks[0].attn2
    with torch.inference_mode():
        outputs = len(attention.to_k.weight)
        attention.to_k = comfy.ops.scaled_fp8_ops().Linear(64, outputs, bias=False, dtype=torch.float8_e4m3fn)
        with pytest.raises(CNSError, match=r"is quantized \(\S+to_k\.weight is torch\.float8_e4m3fn with a scale\)"):
            pretrained_kv(model)


def test_its_weights_are_the_pretrained_ones_whatever_is_written_into_the_model_meanwhile(studio, dog_state):
    checkpoint = studio.checkpoint
    before = {name: weight.clone() for name, weight in checkpoint.weights.items()}
    with torch.inference_mode():
        model, _ = apply_state(checkpoint, dog_state, 1.0)
    load([model])
    written = find_kv_modules(studio.model.model.diffusion_model)
    assert not all(torch.equal(written[name].weight, weight) for name, weight in before.items())
    assert all(torch.equal(checkpoint.weights[name], weight) for name, weight in before.items())
    load([studio.model])


def test_only_a_sample_of_the_text_encoder_is_read(studio):
    """Of SD-1.5's 123 M weights 8 M."""
    rows = text_encoder_rows(studio.clip)
    whole = sum(weight.numel() for name, weight in studio.clip.cond_stage_model.named_parameters() if weight.ndim == 2)
    assert sum(matrix.numel() for matrix in rows) < whole / 14
