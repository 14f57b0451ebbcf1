"""The demo model: SD-1.5's shape in small, accepted by ComfyUI's own nodes, and good at its world."""

from __future__ import annotations

import time

import comfy.lora
import comfy.sd
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from cns_pack.cns_core.comfy_adapter.checkpoint.checks import check_sd15
from cns_pack.cns_core.errors import CNSError
from cns_pack.nodes.files import load_demo_model as node
from safetensors.torch import load_file

from demo.model import MODEL_FILE, load_demo_model, new_vae
from demo.training.narrow import narrowed, widened


@pytest.fixture(scope="module")
def demo():
    with torch.inference_mode():
        return load_demo_model()


def test_file_is_small_and_loads_in_under_a_second():
    assert MODEL_FILE.stat().st_size <= 20e6
    durations = []
    for _ in range(3):
        started = time.thread_time()  # others may have the cores as well
        load_demo_model()
        durations.append(time.thread_time() - started)
    assert min(durations) < 1.0


def test_it_is_an_sd15(demo):
    model, clip, _ = demo
    check_sd15(model)
    layout = Checkpoint(model, clip).layout
    assert len(layout.layers) == 14
    assert layout.layers[0].name == "input_blocks.1.1.transformer_blocks.0.attn2.to_k"
    tokens = clip.tokenize("a red star on a beach")["l"][0]
    assert len(tokens) == 77
    assert tokens[0][0] == 49406
    assert clip.encode_from_tokens(clip.tokenize("a red star on a beach")).shape == (1, 77, 128)


def test_vae_has_sd15s_latent_shape(demo):
    _, _, vae = demo
    picture = torch.rand(2, 64, 64, 3)
    with torch.inference_mode():
        latents = vae.encode(picture)
        assert latents.shape == (2, 4, 8, 8)
        assert vae.decode(latents).shape == picture.shape


def test_narrow_vae_becomes_a_taesd_that_computes_the_same():
    narrow = narrowed(new_vae()).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for part in (narrow.taesd_encoder, narrow.taesd_decoder):
            for value in part.state_dict().values():  # the running means as well
                value.add_(0.02 * torch.randn(value.shape, generator=generator))
        wide = widened(narrow, new_vae())
        picture = 2 * torch.rand(2, 3, 64, 64, generator=generator) - 1
        latents = narrow.encode(picture)
        torch.testing.assert_close(wide.encode(picture), latents, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(wide.decode(latents), narrow.decode(latents), rtol=1e-4, atol=1e-4)
    assert latents.std() > 0.1
    assert wide.state_dict().keys() == new_vae().state_dict().keys()


def test_checkpoint_save(demo, tmp_path):
    model, clip, vae = demo
    with torch.inference_mode():
        comfy.sd.save_checkpoint(str(tmp_path / "saved.safetensors"), model, clip, vae)
    saved = load_file(tmp_path / "saved.safetensors")
    key = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    assert torch.equal(saved[key].float(), model.model.state_dict()[key.removeprefix("model.")].float())
    assert "cond_stage_model.transformer.text_model.final_layer_norm.weight" in saved
    assert any(name.startswith("first_stage_model.") for name in saved)


def test_lora_loader_finds_its_layers(demo):
    model, clip, _ = demo
    weight = model.model.diffusion_model.input_blocks[1][1].transformer_blocks[0].attn2.to_k.weight
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    lora = {f"{name}.lora_up.weight": torch.ones(len(weight), 1), f"{name}.lora_down.weight": torch.ones(1, weight.shape[1])}
    patched, _ = comfy.sd.load_lora_for_models(model, clip, lora, 1.0, 1.0)
    assert list(patched.patches) == ["diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"]


def test_a_file_cut_short_is_named(tmp_path, monkeypatch):
    short = tmp_path / "short.safetensors"
    short.write_bytes(MODEL_FILE.read_bytes()[:1000])
    monkeypatch.setattr(node, "MODEL_FILE", short)
    with pytest.raises(CNSError, match=r"short\.safetensors cannot be read"):
        node.LoadDemoModel.execute()
