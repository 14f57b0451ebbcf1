"""A caption is data: ComfyUI's text encoder reads the very text. A prompt is a prompt, with weights and files."""

from __future__ import annotations

import pytest
import torch
from cns_pack.cns_core.comfy_adapter.checkpoint.conditioning import encode_all
from cns_pack.cns_core.comfy_adapter.checkpoint.prompt_encoder import PromptEncoder
from cns_pack.cns_core.comfy_adapter.checkpoint.tokens import initial_vectors, with_tokens
from cns_pack.cns_core.comfy_adapter.neurons import compute_neurons, prompt_masks
from cns_pack.cns_core.concept import Concept, literal, training_prompts
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from tests.support.loading import encode
from tests.support.tiny_models import WIDTH, tiny_clip

CAPTIONS = [
    "saber (fate)",
    "a clock at (10:30)",
    "[a|b] {c} ((very)) :-) (",
    r"saber \(fate\), C:\dogs\ (1)\\",
    "embedding:style",
    "a dog, embedding:style\nembedding:style Embedding:STYLE",
    "(" * 40 + "word " * 60 + ")" * 40,
]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """With a file ``embedding:style`` would load."""
    folder = tmp_path_factory.mktemp("embeddings")
    save_file({"clip_l": torch.ones(3, WIDTH)}, folder / "style.safetensors")
    clip = tiny_clip()
    clip.tokenizer.clip_l.embedding_directory = str(folder)
    return clip


def tokens_of(clip, text: str) -> list[int]:
    return clip.tokenizer.clip_l.tokenizer(text, add_special_tokens=False)["input_ids"]


def read(clip, prompt: str) -> list[tuple]:
    """What ComfyUI makes of a prompt, without the marks for start, end and padding; with their weights."""
    return [(token, weight) for chunk in clip.tokenize(prompt)["l"] for token, weight in chunk if token not in (49406, 49407)]


def as_text(clip, text: str) -> torch.Tensor:
    """Conditioning (77, features) of a text's own tokens, at most 75, at weight 1."""
    ids = [49406, *tokens_of(clip, text), 49407]
    chunk = [(token, 1.0) for token in ids + [49407] * (77 - len(ids))]
    return clip.encode_from_tokens({"l": [chunk]})[0].float()


@pytest.mark.parametrize("caption", CAPTIONS)
def test_a_caption_is_read_as_it_is_written(clip, caption):
    assert read(clip, literal(caption)) == [(token, 1.0) for token in tokens_of(clip, caption)]


@settings(derandomize=True, max_examples=200, deadline=None)
@given(pieces=st.lists(st.sampled_from([*"()\\:[]{}|<> \n", "dog", "1.5", "embedding:", "style", "狗"]), max_size=15))
def test_any_text_can_be_written_as_a_prompt(clip, pieces):
    text = "".join(pieces)
    assert read(clip, literal(text)) == [(token, 1.0) for token in tokens_of(clip, text)]


def test_base_neurons_come_from_the_very_captions(studio):
    caption = "a dog at (10:30), (red:30)"
    concept = Concept("<new1>", "dog", (torch.zeros(64, 64, 3),), (caption,))
    with torch.inference_mode():
        base = compute_neurons(studio.checkpoint, list(concept.descriptions), 0.3, "base", None)
        (weighted,) = prompt_masks(studio.checkpoint, [caption], 0.3, None)
        assert torch.equal(encode(studio.clip, concept.descriptions[0]), as_text(studio.clip, caption))
    assert base.mask.count != (base.mask & weighted).count  # the calibration's prompts keep their weights


def test_training_prompts_are_the_very_captions(clip):
    concept = Concept("<new1>", "saber (fate)", (torch.zeros(64, 64, 3),), ("Saber (fate) at (10:30) embedding:style",))
    (prompts,) = training_prompts(concept, "mix", "photo (1) of {concept}")
    texts = ["dog saber (fate) at (10:30) embedding:style", "photo (1) of dog saber (fate)"]
    with torch.inference_mode():
        vectors = initial_vectors(clip, "dog", 1)
        features = PromptEncoder(clip, clip.cond_stage_model, "<new1>")(list(prompts), vectors)
        taught = with_tokens(clip, {"<new1>": vectors})
        for prompt, text, ours in zip(prompts, texts, features, strict=True):
            torch.testing.assert_close(ours, as_text(clip, text))
            assert torch.equal(encode(taught, prompt), as_text(clip, text))  # as the next concept's training keeps it


def test_a_training_leaves_prompts_that_mean_the_captions(studio):
    captions = ("a hat (blue:30) on grass", "a hat", "a hat")
    concept = Concept("<new1>", "hat", tuple(torch.rand(64, 64, 3) for _ in captions), captions)
    state, _ = studio.teach(concept, prior=False, steps=1)
    assert state.concepts[0].prompts[0] == r"a <new1> hat \(blue:30\) on grass"
    with torch.inference_mode():
        plain = with_tokens(studio.clip, {"<new1>": initial_vectors(studio.clip, "dog", 1)})
        assert torch.equal(encode(plain, state.concepts[0].prompts[0]), as_text(studio.clip, "a dog hat (blue:30) on grass"))


def test_prompts_of_prior_images_keep_their_weights(clip):
    """The sampler saw them so."""
    prompt = "photo of a (dog:1.5), embedding:style"
    with torch.inference_mode():
        (ours,) = encode_all(clip, [prompt])
        assert torch.equal(ours, clip.encode_from_tokens(clip.tokenize(prompt))[0].float())
        (without,) = encode_all(clip, ["photo of a dog, embedding:style"])
        (literally,) = encode_all(clip, [literal(prompt)])
    assert not torch.equal(ours, without)
    assert not torch.equal(ours, literally)


def test_prompts_are_encoded_together_as_one_by_one(clip):
    """More than a batch of them, short and long, with weights, a file and a learned token; each different one once."""
    prompts = [f"a photo of {number} dogs" for number in range(9)]
    prompts[1:1] = ["photo of a (dog:1.5), embedding:style", "dog " * 100, "a <new1> on grass", prompts[0]]
    encoded = []
    with torch.inference_mode():
        taught = with_tokens(clip, {"<new1>": initial_vectors(clip, "dog", 2)})
        together = encode_all(taught, prompts, lambda: encoded.append(1))
        one_by_one = [taught.encode_from_tokens(taught.tokenize(prompt))[0].float() for prompt in prompts]
    assert len(encoded) == len(set(prompts)) == 12
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(together, one_by_one, strict=True))
