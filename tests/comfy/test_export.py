"""Exported files, read by ComfyUI's own LoRA loader and by diffusers, against what Apply CNS State does."""

from __future__ import annotations

import logging
import os
import re
import runpy
from pathlib import Path

import comfy.sd
import comfy.utils
import folder_paths
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.apply.apply import apply_state
from cns_pack.cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from cns_pack.cns_core.comfy_adapter.export.export import export_state
from cns_pack.cns_core.comfy_adapter.export.folder import new_export_folder, token_words
from cns_pack.cns_core.errors import CNSError
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tests.support.loading import encode, expected_weights, load, same
from tests.support.tiny_models import CLIP_CONFIG, WIDTH, tiny_clip, tiny_model

logger = logging.getLogger(__name__)

DOCS = Path(__file__).parents[2] / "docs" / "export.md"
PROMPT, NEGATIVE = "photo of a <new1> dog with a <new2> hat", "a house"


@pytest.fixture
def output(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    return tmp_path


def exported(studio, state, target: str, dtype=torch.float32) -> tuple[Path, list[str]]:
    with torch.inference_mode():
        checkpoint = Checkpoint(studio.model, studio.clip)
        return export_state(checkpoint, state, target, dtype, lambda: new_export_folder("cns_export/concepts"))


@pytest.mark.parametrize(("dtype", "strength"), [(torch.float32, 1.0), (torch.float32, 0.5), (torch.float16, 1.0)])
def test_load_lora_gives_the_weights_of_apply(studio, two_state, output, dtype, strength):
    folder, lines = exported(studio, two_state, "LoRA", dtype)
    assert folder == output / "cns_export" / "concepts"
    file = comfy.utils.load_torch_file(str(folder / "concepts.safetensors"), safe_load=True)
    assert len(file) == len(two_state.layout.layers)
    with torch.inference_mode():
        model, _ = comfy.sd.load_lora_for_models(studio.model, studio.clip, file, strength, strength)
    assert len(model.patches) == len(file)  # names that ComfyUI does not know are skipped with a warning only
    load([studio.model])
    before, expected = studio.weights(), expected_weights(studio, two_state, strength)
    load([model])
    found = studio.weights()
    load([studio.model])
    error = max(float((found[name] - expected[name]).abs().max()) for name in expected)
    change = max(float((before[name] - expected[name]).abs().max()) for name in expected)
    if dtype == torch.float32:
        assert error == 0.0
        assert "the weights are exactly Apply CNS State's" in lines[0]
    else:
        assert 0.0 < error <= change * 2**-11  # float16 has 11 bits
        assert float(lines[0].rpartition(" ")[2]) == pytest.approx(error, rel=0.05)


def test_metadata_says_what_the_file_is(studio, two_state, output):
    folder, _ = exported(studio, two_state, "LoRA")
    with safe_open(folder / "concepts.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert metadata["ss_network_module"] == "lycoris.kohya"
    assert metadata["ss_base_model_version"] == "sd_v1-5"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"


def test_embeddings_give_the_conditioning_of_apply(studio, dog, hat, output):
    dogs = studio.teach(dog, vectors=3)[0]
    state = studio.teach(hat, previous=dogs)[0]
    folder, _ = exported(studio, state, "LoRA")
    clip = tiny_clip()
    clip.tokenizer.clip_l.embedding_directory = [str(folder)]
    with torch.inference_mode():
        applied = apply_state(studio.checkpoint, state, 1.0)[1]
        prompts = [
            "a (<new1> dog:1.2) with a <new2> hat",
            "a (embedding:concepts-new1 dog:1.2) with a embedding:concepts-new2 hat",
        ]
        assert torch.equal(encode(applied, prompts[0]), encode(clip, prompts[1]))


def pipeline(studio, comfyui: Path) -> StableDiffusionPipeline:
    """diffusers' Stable Diffusion on the tiny checkpoint's weights."""
    base, text = studio.model.model, studio.clip.cond_stage_model.clip_l.transformer
    blocks = (32, 64)
    unet = UNet2DConditionModel(
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        block_out_channels=blocks,
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=8,
    )
    theirs, ours = comfy.utils.unet_to_diffusers(base.model_config.unet_config), base.diffusion_model.state_dict()
    unet.load_state_dict({name: ours[own].clone() for name, own in theirs.items() if own in ours})
    encoder = CLIPTextModel(CLIPTextConfig(**CLIP_CONFIG, vocab_size=49408, eos_token_id=49407, hidden_act="quick_gelu"))
    encoder.load_state_dict({name: value.float().clone() for name, value in text.state_dict().items()}, strict=False)
    vae = AutoencoderKL(block_out_channels=(32,), norm_num_groups=32)
    tokenizer = CLIPTokenizer.from_pretrained(comfyui / "comfy" / "sd1_tokenizer", model_max_length=77)
    scheduler = DDIMScheduler(steps_offset=1, clip_sample=False)
    return StableDiffusionPipeline(vae, encoder, tokenizer, unet, scheduler, None, None, requires_safety_checker=False)


def script() -> str:
    """What the page tells users to run."""
    (block,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    return re.sub(r"^   ", "", block, flags=re.MULTILINE)


@torch.no_grad()
def test_diffusers_predicts_as_apply_does(studio, dog, hat, output, comfyui, monkeypatch):
    """By the very lines of the page: loading without an error proves nothing."""
    state = studio.teach(hat, previous=studio.teach(dog, vectors=2)[0])[0]
    folder, _ = exported(studio, state, "diffusers")
    pipe = pipeline(studio, comfyui)
    noisy, timesteps = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([500])

    def theirs() -> tuple[torch.Tensor, torch.Tensor]:
        context, _ = pipe.encode_prompt(PROMPT, "cpu", 1, False)
        return context, pipe.unet(noisy, timesteps, context).sample

    def ours(model, clip) -> tuple[torch.Tensor, torch.Tensor]:
        context = encode(clip, PROMPT).unsqueeze(0)
        load([model])
        return context, model.model.diffusion_model(noisy, timesteps.float(), context=context, transformer_options={})

    plain_theirs = pipe.unet(noisy, timesteps, pipe.encode_prompt(NEGATIVE, "cpu", 1, False)[0]).sample
    monkeypatch.chdir(folder.parent)
    Path("page.py").write_text(script(), encoding="utf-8")
    runpy.run_path("page.py", {"pipe": pipe})
    assert not torch.allclose(
        plain_theirs, pipe.unet(noisy, timesteps, pipe.encode_prompt(NEGATIVE, "cpu", 1, False)[0]).sample, atol=1e-4
    )
    with torch.inference_mode():
        context, predicted = ours(*apply_state(studio.checkpoint, state, 1.0))
    load([studio.model])
    their_context, their_prediction = theirs()
    errors = [float((a - b).abs().max()) for a, b in ((context, their_context), (predicted, their_prediction))]
    logger.info("largest differences to Apply CNS State: text features %.1e, predicted noise %.1e", *errors)
    assert max(errors) < 1e-4


def test_diffusers_weights_are_those_of_apply(studio, two_state, output):
    folder, lines = exported(studio, two_state, "diffusers")
    found = load_file(folder / "concepts_unet.safetensors")
    expected = expected_weights(studio, two_state, 1.0)
    pairs = comfy.utils.unet_to_diffusers(studio.model.model.model_config.unet_config)
    assert len(found) == len(two_state.layout.layers)
    assert all(torch.equal(weight, expected[f"unet.diffusion_model.{pairs[name]}"]) for name, weight in found.items())
    assert "the weights are exactly Apply CNS State's" in lines[0]


def test_names_of_tokens_are_no_words_and_never_the_same():
    assert token_words("concepts", ["<new1>", "<dog>", "<a-b>", "<a.b>", "<!>", "<狗>"]) == {
        "<new1>": "concepts-new1",
        "<dog>": "concepts-dog",
        "<a-b>": "concepts-a-b",
        "<a.b>": "concepts-a-b_2",
        "<!>": "concepts-token",
        "<狗>": "concepts-狗",
    }


@pytest.mark.parametrize(
    ("prefix", "path"),
    [("x", "x"), ("a/my (dog), 2", "a/my-dog-2"), ("a\\b", "a/b"), ("a/…", "a/concepts")],
)
def test_folder_is_new_and_its_name_fits_into_a_prompt(output, prefix, path):
    assert new_export_folder(prefix) == output / path
    assert new_export_folder(prefix) == output / f"{path}_2"


@pytest.mark.parametrize("prefix", ["", "a/", "../x", "/x", "C:/x"])
def test_folder_outside_of_output(output, prefix):
    with pytest.raises(CNSError, match="must name a file inside ComfyUI's output folder"):
        new_export_folder(prefix)


def test_what_cannot_be_exported_leaves_nothing_behind(studio, two_state, output):
    other = type(studio)(tiny_model(seed=9), studio.clip)
    with pytest.raises(CNSError, match=r"The state was made for the checkpoint with fingerprint \w+"):
        exported(other, two_state, "LoRA")
    with pytest.raises(CNSError, match="wire the checkpoint loader's VAE into vae"):
        exported(studio, two_state, "checkpoint")
    patched = studio.model.clone()
    key = next(name for name in patched.model.state_dict() if name.endswith("attn2.to_k.weight"))
    assert patched.add_patches({key: ("diff", (torch.ones_like(patched.model.state_dict()[key]),))})
    for target in ("diffusers", "checkpoint"):
        with pytest.raises(CNSError, match=r"carries patches \(a LoRA or a merge\), which only some of the files would hold"):
            exported(type(studio)(patched, studio.clip, studio.vae), two_state, target)
    with pytest.raises(CNSError, match="There is no target 'gguf': choose one of LoRA, diffusers, checkpoint"):
        exported(studio, two_state, "gguf")
    empty = type(two_state).empty(two_state.layout, two_state.fingerprint)
    with pytest.raises(CNSError, match="holds no concepts, so there is nothing to export"):
        exported(studio, empty, "LoRA")
    assert list(output.rglob("*")) == []


def test_full_disk(studio, two_state, output, monkeypatch):
    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(CNSError, match=r"concepts could not be written: No space left on device"):
        exported(studio, two_state, "LoRA")
    assert not (output / "cns_export" / "concepts").exists()


def test_full_disk_where_comfyui_writes(studio, two_state, output, monkeypatch):
    """Its errors are safetensors' own."""

    def no_space(*_, **__) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("comfy.sd.save_checkpoint", no_space)
    with pytest.raises(CNSError, match=r"could not be written: SafetensorError: .*No space left on device"):
        export_state(
            studio.checkpoint, two_state, "checkpoint", torch.float32, lambda: new_export_folder("cns_export/concepts")
        )
    assert not (output / "cns_export" / "concepts").exists()


def test_model_is_as_it_was(studio, two_state, output):
    load([studio.model])
    before = studio.weights()
    for target in ("LoRA", "diffusers"):
        exported(studio, two_state, target)
    assert same(studio.weights(), before)
