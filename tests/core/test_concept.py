from __future__ import annotations

import re

import pytest
import torch
from cns_pack.cns_core.calibration import shipped_prompts, split_prompts
from cns_pack.cns_core.captions import given_captions
from cns_pack.cns_core.concept import Concept, check_noun, check_token, instance_prompt, literal, training_prompts
from cns_pack.cns_core.config import SelectionConfig, TrainConfig
from cns_pack.cns_core.errors import CNSError

IMAGE = torch.zeros(8, 8, 3)


@pytest.mark.parametrize("token", ["<new1>", " <my-dog_2> ", "<ß>", "<小狗>", "<Σ>", "<it's>"])
def test_tokens_that_work(token):
    assert check_token(token) == token.strip()


@pytest.mark.parametrize("token", ["dog", "", "<>", "<my dog>", "<a:1.2>", "<a)>", "new1>", "<a><b>", "<a,b>"])
def test_tokens_that_do_not(token):
    with pytest.raises(CNSError, match="angle brackets, like <new1>"):
        check_token(token)


@pytest.mark.parametrize(
    "token", ["<|endoftext|>", "<{a}>", "<a//b>", "<a\\b>", "<a\u200bb>", "<a\x00>", "<\ud800>", "<a\u3000b>"]
)
def test_tokens_that_no_prompt_can_contain(token):
    """CLIP's own, what the editor takes for choices and comments, and what nobody can see or type."""
    with pytest.raises(CNSError, match="without spaces, invisible characters or any of"):
        check_token(token)


def test_an_invisible_character_is_named():
    with pytest.raises(CNSError, match=re.escape(r"The token '<a\u200bb>' must be")):
        check_token("<a\u200bb>")


def test_a_letter_with_two_in_lower_case_is_refused():
    with pytest.raises(CNSError, match="The token '<İstanbul>' has a letter that becomes two characters in lower case"):
        check_token("<İstanbul>")


def test_accents_are_as_typed_in_prompts():
    """A file's name on a Mac has e and an accent, a keyboard gives é."""
    assert check_token("<cafe\u0301>") == "<caf\u00e9>"
    assert check_noun(" cafe\u0301\n noir ") == "caf\u00e9 noir"
    concept = Concept("<new1>", "caf\u00e9", (IMAGE,), ("a cafe\u0301 in Paris",))
    assert training_prompts(concept, "caption", "")[0] == ("a <new1> caf\u00e9 in Paris",)


def test_noun_is_replaced_by_token_and_noun():
    assert instance_prompt("a small Dog and a dog", "<new1>", "dog") == "a small <new1> dog and a dog"
    assert instance_prompt("a dogged man", "<new1>", "dog") == "<new1> dog, a dogged man"
    assert instance_prompt("a c++ book", "<new1>", "c++") == "a <new1> c++ book"
    assert instance_prompt("a hot-dog", "<new1>", "dog") == "<new1> dog, a hot-dog"
    assert instance_prompt("a t-shirt and a shirt", "<new1>", "shirt") == "a t-shirt and a <new1> shirt"
    assert instance_prompt("two dogs", "<new1>", "dog") == "<new1> dog, two dogs"
    assert instance_prompt("一只狗在草地上", "<new1>", "狗") == "一只<new1> 狗在草地上"
    assert instance_prompt("a <dog> next to a dog", "<new1>", "dog") == "a <dog> next to a <new1> dog"


def test_captions_may_have_the_token_already():
    captions = ("a <new1> dog on grass", "a <New1> in snow", "a dog", "a <new1> dogged one")
    concept = Concept("<new1>", "dog", (IMAGE,) * 4, captions)
    assert concept.descriptions == ("a dog on grass", "a dog in snow", "a dog", "a dog dogged one")
    prompts = [prompt for (prompt,) in training_prompts(concept, "caption", "")]
    assert prompts[:3] == ["a <new1> dog on grass", "a <new1> dog in snow", "a <new1> dog"]


@pytest.mark.parametrize(
    ("noun", "caption", "plain"),
    [
        ("狗", "一只<new1>狗在草地上", "一只狗在草地上"),
        ("狗", "一只<new1> 狗在草地上", "一只狗在草地上"),
        ("狗", "<new1>在草地上", "狗在草地上"),
        ("dog", "a <new1>dog, my<new1>s", "a dog, my dog s"),
        ("dog", "a <new1> dog-sled", "a dog dog-sled"),
        ("teddy bear", "a <new1>  Teddy\tbear", "a teddy bear"),
    ],
)
def test_captions_in_ordinary_words(noun, caption, plain):
    assert Concept("<new1>", noun, (IMAGE,), (caption,)).descriptions == (plain,)


def test_captions_and_templates_are_literal_in_prompts():
    """Written so that ComfyUI reads the very text: tests/comfy/test_literal.py asks it."""
    concept = Concept("<new1>", "saber (fate)", (IMAGE,), ("Saber (fate) at (10:30), [x], \\(a\\) embedding:b",))
    escaped = r"at \(10:30\), [x], \\(a\\) Embedding:b"
    assert concept.descriptions == (rf"Saber \(fate\) {escaped}",)
    assert training_prompts(concept, "mix", "a ({concept})") == [
        (rf"<new1> saber \(fate\) {escaped}", r"a \(<new1> saber \(fate\)\)")
    ]
    assert literal("a plain caption") == "a plain caption"


def test_prompt_modes():
    concept = Concept("<new1>", "dog", (IMAGE, IMAGE), ("a dog on grass", "snow"))
    caption, template = "a <new1> dog on grass", "photo of a <new1> dog"
    assert training_prompts(concept, "caption", "photo of a {concept}") == [(caption,), ("<new1> dog, snow",)]
    assert training_prompts(concept, "template", "photo of a {concept}")[0] == (template,)
    assert training_prompts(concept, "mix", "photo of a {concept}")[0] == (caption, template)
    with pytest.raises(CNSError, match="no prompt mode 'x'"):
        training_prompts(concept, "x", "photo of a {concept}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noun": " "}, "class noun is empty"),
        ({"noun": "<new1>"}, "must be an ordinary word"),
        ({"images": ()}, "No concept images"),
        ({"captions": ("one",)}, "1 captions for 2 images"),
        ({"captions": ("a dog", "  ")}, "caption of image 2 is empty"),
        ({"images": (IMAGE, torch.zeros(8, 8, 4))}, r"Image 2 has shape \(8, 8, 4\).*alpha"),
        ({"images": (IMAGE, IMAGE / 0)}, "Image 2 holds NaN"),
    ],
)
def test_mistakes_in_a_concept(change, message):
    fields = {"token": "<new1>", "noun": "dog", "images": (IMAGE, IMAGE), "captions": ("a dog", "a dog")}
    with pytest.raises(CNSError, match=message):
        Concept(**{**fields, **change})


def test_given_captions():
    assert given_captions(["a\n b  c \n"], 2) == ["a", "b c"]
    assert given_captions(["a", ""], 2) == ["a", ""]
    assert given_captions(["one line\nof one image"], 1) == ["one line of one image"]
    assert given_captions([""], 3) == ["", "", ""]
    assert given_captions(["\na dog\n a hat"], 3) == ["", "a dog", "a hat"]
    assert given_captions(["a dog\n\n"], 2) == ["a dog", ""]
    with pytest.raises(CNSError, match="3 captions were given for 2 images"):
        given_captions(["a\nb\nc"], 2)


def test_shipped_prompts_are_a_hundred_different_ones():
    prompts = shipped_prompts()
    assert len(prompts) == len(set(prompts)) == 100
    assert split_prompts(" a \n\n b") == ["a", "b"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"neuron_lr": -1.0}, "neuron_lr must be a number of 0 or more, but it is -1.0"),
        ({"prev_weight": float("nan")}, "prev_weight must be a number of 0 or more, but it is nan"),
        ({"neuron_lr": 0.0, "token_lr": 0.0}, "would change nothing"),
        ({"resolution": 100}, "multiple of 64 pixels.*100"),
        ({"template": "photo of a dog"}, r"lacks \{concept\}"),
    ],
)
def test_bad_hyper_parameters(fields, message):
    with pytest.raises(CNSError, match=message):
        TrainConfig(**fields)


def weights(config: TrainConfig) -> tuple[float | None, float | None, float]:
    return config.prev_weight, config.pretrained_weight, config.keep_tolerance


def test_presets_set_what_holds_earlier_concepts_and_nothing_else():
    config = TrainConfig(steps=7, prev_weight=0.5, pretrained_weight=0.25, keep_tolerance=1.5)
    keep, paper = config.with_preset("keep"), config.with_preset("paper")
    assert weights(keep) == (0.0, 0.0, 1.5)
    assert weights(paper) == (None, 0.25, 0.0)
    assert (keep.steps, paper.steps) == (7, 7)
    assert config.with_preset("custom") == config
    with pytest.raises(CNSError, match="There is no preset 'papers': choose one of keep, paper, custom"):
        config.with_preset("papers")


def test_defaults_are_the_papers():
    train, selection = TrainConfig(), SelectionConfig()
    assert (train.steps, train.neuron_lr, train.token_lr, train.prior_weight) == (500, 3e-5, 5e-4, 1.0)
    assert (selection.top_fraction, selection.calibration_count) == (0.30, 20)
