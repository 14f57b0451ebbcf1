"""Prior images that the checkpoint draws: which, how they are kept, and when they are drawn again."""

from __future__ import annotations

from dataclasses import replace

import comfy.model_management as memory
import folder_paths
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint, digest
from cns_pack.cns_core.comfy_adapter.priors import sampling
from cns_pack.cns_core.comfy_adapter.priors.priors import make_priors
from cns_pack.cns_core.config import PriorConfig
from cns_pack.cns_core.contexts import CLASS_CONTEXTS, class_prompts
from cns_pack.cns_core.errors import CNSError
from cns_pack.cns_core.kept_prompts import kept_prompts
from cns_pack.demo.model import load_demo_model

CONTEXTS = ["a {noun} on a beach", "a {noun} in a forest"]


@pytest.fixture(scope="module")
def checkpoint():
    with torch.inference_mode():
        return Checkpoint(*load_demo_model())


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    return tmp_path / "cns" / "priors"


def make(checkpoint, count=3, noun="star", contexts=CONTEXTS, **changes):
    config = PriorConfig(**{"count": count, "resolution": 64, "steps": 2, "cfg": 4.0, **changes})
    with torch.inference_mode():
        return make_priors(checkpoint, noun, contexts, config, None)


def same(a, b) -> bool:
    return len(a.images) == len(b.images) and all(map(torch.equal, a.images, b.images))


def test_they_are_there_at_once_the_second_time(checkpoint, folder):
    first, line = make(checkpoint)
    assert first.prompts == ("a star on a beach", "a star in a forest", "a star on a beach")
    assert line == f"3 prior images of 'star': 3 drawn, 0 from {folder}"
    assert not torch.equal(first.images[0], first.images[2])
    assert {image.shape for image in first.images} == {(64, 64, 3)}
    again, line = make(checkpoint)
    assert "0 drawn, 3 from" in line
    assert same(first, again)
    more, line = make(checkpoint, count=5)
    assert "2 drawn, 3 from" in line
    assert all(map(torch.equal, first.images, more.images))
    assert sorted(path.name for path in folder.iterdir()) == [f"star_0000{number}.png" for number in range(1, 6)]


@pytest.mark.parametrize(
    "change",
    [
        *({"seed": 1}, {"steps": 3}, {"cfg": 5.0}, {"sampler": "heun"}, {"resolution": 128}, {"negative": "red"}),
        {"contexts": ["a blue {noun}", "two {noun}s"]},
    ],
    ids=str,
)
def test_other_settings_draw_others_and_replace_none(checkpoint, folder, change):
    first, _ = make(checkpoint, 2)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other, line = make(checkpoint, 2, **change)
    assert "2 drawn" in line
    assert not any(map(torch.equal, first.images, other.images))
    assert all((folder / name).read_bytes() == content for name, content in before.items())
    assert "0 drawn" in make(checkpoint, 2)[1]


def test_another_checkpoint_draws_its_own(checkpoint):
    make(checkpoint, 1)
    with torch.inference_mode():
        other = Checkpoint(*load_demo_model())
        other.vae.first_stage_model.taesd_decoder[1].weight.view(-1)[0] += 0.5
    assert digest(other) != digest(checkpoint)
    assert "1 drawn" in make(other, 1)[1]
    skipping = Checkpoint(checkpoint.model, checkpoint.clip.clone(), checkpoint.vae)
    skipping.clip.clip_layer(-2)
    assert digest(skipping) != digest(checkpoint)


def test_what_is_cut_short_is_made_again_under_a_new_name(checkpoint, folder):
    first, _ = make(checkpoint, 2)
    path = folder / "star_00002.png"
    path.write_bytes(path.read_bytes()[:-20])
    (folder / "star_00007.png").write_bytes(b"no picture")
    again, line = make(checkpoint, 2)
    assert "1 drawn, 1 from" in line
    assert all(float((a - b).abs().max()) < 0.02 for a, b in zip(first.images, again.images, strict=True))
    assert (folder / "star_00003.png").is_file()
    assert "0 drawn" in make(checkpoint, 2)[1]


def test_batches_make_no_difference(checkpoint, folder, monkeypatch):
    """But for the rounding of sums."""
    together, _ = make(checkpoint)
    for path in folder.iterdir():
        path.unlink()
    monkeypatch.setattr(sampling, "_room_for", lambda *_: 1)
    alone, line = make(checkpoint)
    assert "3 drawn" in line
    assert all(float((a - b).abs().max()) < 0.02 for a, b in zip(together.images, alone.images, strict=True))


def test_smaller_batches_where_memory_is_short(checkpoint, monkeypatch):
    decode, sizes = checkpoint.vae.decode, []

    def short(latents):
        sizes.append(len(latents))
        if len(latents) > most:
            raise memory.OOM_EXCEPTION("CUDA out of memory")
        return decode(latents)

    monkeypatch.setattr(checkpoint.vae, "decode", short)
    most = 1
    assert len(make(checkpoint, 3)[0].images) == 3
    assert sizes == [3, 1, 1, 1]
    most = 0
    with pytest.raises(CNSError, match="out of memory while drawing one prior image of 64 px: lower resolution"):
        make(checkpoint, 3, seed=9)


def test_cancel_keeps_what_was_drawn(checkpoint, folder, monkeypatch):
    monkeypatch.setattr(sampling, "_room_for", lambda *_: 1)
    decode = checkpoint.vae.decode

    def cancelled(latents):
        if folder.exists():
            memory.interrupt_current_processing()
        return decode(latents)

    monkeypatch.setattr(checkpoint.vae, "decode", cancelled)
    with pytest.raises(memory.InterruptProcessingException):
        make(checkpoint, 4)
    memory.interrupt_current_processing(False)
    monkeypatch.undo()
    folder_paths.output_directory, before = str(folder.parents[1]), folder_paths.output_directory
    assert "3 drawn, 1 from" in make(checkpoint, 4)[1]
    folder_paths.output_directory = before


def test_a_full_disk_costs_no_image(checkpoint, folder):
    folder.parent.mkdir()
    folder.touch()  # no folder can be made there
    prior, line = make(checkpoint, 2)
    assert len(prior.images) == 2
    assert "The prior images were not kept: " in line


def test_a_changed_checkpoint_is_refused(checkpoint):
    patched = Checkpoint(checkpoint.model.clone(), checkpoint.clip, checkpoint.vae)
    patched.model.add_patches({"diffusion_model.out.2.bias": ("diff", (torch.zeros(4),))})
    with pytest.raises(CNSError, match=r"MODEL wired in carries patches .*: wire the checkpoint loader's output here"):
        make(patched)
    with pytest.raises(CNSError, match="There are no prompts for the prior images"):
        make(checkpoint, contexts=[])


def test_prompts_of_a_class():
    prompts = class_prompts("owl (bird)", CLASS_CONTEXTS, 40)
    assert prompts[0] == "a photo of an owl \\(bird\\)"
    assert len(set(prompts)) == len(CLASS_CONTEXTS)
    assert prompts[len(CLASS_CONTEXTS)] == prompts[0]
    assert not [prompt for prompt in prompts if "a owl" in prompt or "{" in prompt]


def test_a_noun_in_kept_prompts_is_plain_text(dog_state):
    toy = replace(dog_state.concepts[0], noun="bird (toy)")
    assert kept_prompts(toy)[4:6] == [r"<new1> bird \(toy\)", r"a <new1> bird \(toy\)"]


def test_kept_prompts_are_what_they_were(dog_state):
    assert kept_prompts(dog_state.concepts[0])[4:9] == [
        "<new1> dog",
        "a <new1> dog",
        "a photo of a <new1> dog",
        "a <new1> dog on the beach",
        "a <new1> dog in the snow",
    ]
