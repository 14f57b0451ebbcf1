"""Any text is a prompt and a caption: nothing fails, shapes are right, and without a token it is what ComfyUI makes of it."""

from __future__ import annotations

import pytest
import torch
from cns_pack.cns_core.comfy_adapter.checkpoint.checks import token_embedding
from cns_pack.cns_core.comfy_adapter.checkpoint.conditioning import encode_all
from cns_pack.cns_core.comfy_adapter.checkpoint.prompt_encoder import PromptEncoder
from cns_pack.cns_core.comfy_adapter.checkpoint.tokens import initial_vectors, with_tokens
from cns_pack.cns_core.concept import Concept, check_noun, check_token, literal, training_prompts
from cns_pack.cns_core.errors import CNSError
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save_file

from tests.support.fuzzing import check_sentence, thrown
from tests.support.loading import encode
from tests.support.tiny_models import WIDTH, tiny_clip

PIECES = [
    *"()[]{}|\\:<>.,'-0 ",
    "\n",
    "\r",
    "\0",
    "\t",
    "\ufffd",
    "\u202e",
    "\u200d",
    "🐕‍🦺",
    "שלום",
    "مرحبا",
    "狗",
    "İ",
    "ß",
    "e\u0301",
]
PIECES += [
    "dog",
    "embedding:",
    "embedding:style",
    "embedding:nowhere",
    ":1.2)",
    ":1e9)",
    ":nan)",
    ":inf)",
    ":-1)",
    "((",
    "\\(",
    "\\)",
]
PIECES += ["<|endoftext|>", "<|startoftext|>", "(" * 50, ")" * 50, "word " * 40, "new1>", "<new2>", "{concept}"]
TOKEN_PIECES = ["<new1>", "<NEW1>", "(<new1>:1.2)", "embedding:<new1>", "<new1>\\"]
ANY = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.text(max_size=30),
    st.binary(max_size=30).map(lambda raw: raw.decode("utf-8", "replace")),
    st.binary(max_size=30).map(lambda raw: raw.decode("latin-1")),
)
WITH_TOKEN = st.lists(st.sampled_from(PIECES + 3 * TOKEN_PIECES), max_size=12).map("".join)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """With a file ``embedding:style`` loads."""
    folder = tmp_path_factory.mktemp("embeddings")
    save_file({"clip_l": torch.ones(3, WIDTH)}, folder / "style.safetensors")
    clip = tiny_clip()
    clip.tokenizer.clip_l.embedding_directory = str(folder)
    return clip


@pytest.fixture(scope="module")
def taught(clip):
    return with_tokens(clip, {"<new1>": initial_vectors(clip, "dog", 2)})


def same_tokens(ours, theirs) -> bool:
    """Chunks of (id or vector, weight)."""
    flat = [[(item, weight) for chunk in chunks for item, weight in chunk] for chunks in (ours, theirs)]
    return len(flat[0]) == len(flat[1]) and all(
        (torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b) and repr(v) == repr(w)
        for (a, v), (b, w) in zip(*flat, strict=True)
    )


@thrown(300)
@given(text=ANY)
def test_without_a_token_it_is_what_the_plain_clip_reads(clip, taught, text):
    if "<new1>" not in text.lower():
        assert same_tokens(taught.tokenize(text)["l"], clip.tokenize(text)["l"])


@thrown(40)
@given(text=ANY)
def test_without_a_token_it_encodes_as_the_plain_clip_does(clip, taught, text):
    if text.strip() and "<new1>" not in text.lower():
        with torch.inference_mode():
            ours, theirs = encode(taught, text), encode(clip, text)
        assert torch.equal(ours.nan_to_num(), theirs.nan_to_num())


@thrown(60)
@given(text=st.one_of(ANY, WITH_TOKEN))
def test_every_prompt_has_a_conditioning_of_77_tokens_or_several_times_that(clip, taught, text):
    with torch.inference_mode():
        try:
            (features,) = encode_all(taught, [text], lambda: None)
        except CNSError as error:
            check_sentence(error)
            assert not text.strip()
            return
    chunks = len(taught.tokenize(text)["l"])
    assert features.shape == (77 * chunks, WIDTH)
    assert features.dtype == torch.float32


@thrown(60)
@given(caption=st.one_of(ANY, WITH_TOKEN), template=ANY)
def test_captions_can_be_trained(clip, caption, template):
    """Training prompts of any caption and template encode, finite, and give the token a gradient."""
    try:
        concept = Concept("<new1>", "dog", (torch.zeros(8, 8, 3),), (caption,))
    except CNSError as error:
        check_sentence(error)
        assert not caption.strip()
        return
    (prompts,) = training_prompts(concept, "mix", template + " {concept}")
    assert all(prompt.strip() for prompt in (*concept.descriptions, *map(literal, concept.plain_captions)))
    assert all("<new1>" in prompt for prompt in prompts)
    encoder = PromptEncoder(clip, clip.cond_stage_model, "<new1>")
    with torch.inference_mode():
        features = encoder(list(prompts), token_embedding(clip)[:2].float().clone())
    assert features.shape[0] == len(prompts)
    assert features.shape[1] % 77 == 0
    assert features.shape[2] == WIDTH
    assert bool(torch.isfinite(features).all())


@thrown(400)
@given(text=st.one_of(ANY, st.builds("<{}>".format, st.text(max_size=6))))
@example(text="<\ud800>")
@example(text="\ud800")
def test_any_token_noun_and_word(clip, text):
    for check in (check_token, check_noun, lambda word: initial_vectors(clip, word, 2)):
        try:
            check(text)
        except CNSError as error:
            check_sentence(error)


@thrown(40)
@given(name=st.text(min_size=1, max_size=6))
@example(name="ſ")
@example(name="K")  # the Kelvin sign, whose lower case is k
@example(name="Σ")
def test_a_token_that_is_accepted_is_found(clip, name):
    try:
        token = check_token(f"<{name}>")
    except CNSError:
        return
    taught = with_tokens(clip, {token: initial_vectors(clip, "dog", 1)})
    (chunk,) = taught.tokenize(f"a {token} b")["l"]
    assert sum(isinstance(item, torch.Tensor) for item, _ in chunk) == 1
