from __future__ import annotations

import pytest
import torch
from cns_pack.cns_core.comfy_adapter.checkpoint.checks import token_embedding
from cns_pack.cns_core.comfy_adapter.checkpoint.tokens import (
    RARE_WORDS,
    STARTED_FROM,
    initial_vectors,
    initial_word,
    with_tokens,
)
from cns_pack.cns_core.config import TrainConfig
from cns_pack.cns_core.errors import CNSError
from cns_pack.cns_core.kv_layers import KVLayout
from cns_pack.cns_core.masks import NeuronMask
from cns_pack.cns_core.state import LearnedConcept
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from tests.support.tiny_models import WIDTH, tiny_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """With a textual inversion embedding of two vectors: ``embedding:style``."""
    folder = tmp_path_factory.mktemp("embeddings")
    save_file({"clip_l": torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(1))}, folder / "style.safetensors")
    clip = tiny_clip()
    clip.tokenizer.clip_l.embedding_directory = str(folder)
    return clip


def encode(clip, text: str) -> torch.Tensor:
    with torch.inference_mode():
        return clip.encode_from_tokens(clip.tokenize(text))


PROMPTS = [
    ("a photo of a <new1> on grass", "a photo of a dog on grass"),
    ("(<new1>:1.2) and ((house))", "(dog:1.2) and ((house))"),
    ("<new1>", "dog"),
    ("<new1>'s ball, <new1>!", "dog's ball, dog!"),
    ("a<new1>b", "a dog b"),
    ("A <NEW1>\nin the snow", "A dog\nin the snow"),
    ("a \\(<new1>\\)", "a \\(dog\\)"),
    ("word " * 90 + "<new1> end", "word " * 90 + "dog end"),
    ("a embedding:style <new1>, <new1> embedding:style", "a embedding:style dog, dog embedding:style"),
    ("(a <new1>, (red:0.5):1.3)\nembedding:style", "(a dog, (red:0.5):1.3)\nembedding:style"),
    ("<new1>" * 80, "dog " * 80),
]


@pytest.fixture(scope="module")
def with_dog(clip):
    return with_tokens(clip, {"<new1>": initial_vectors(clip, "dog", 1)})


@pytest.mark.parametrize(("ours", "plain"), PROMPTS)
def test_a_vector_copied_from_a_word_is_that_word(clip, with_dog, ours, plain):
    assert torch.equal(encode(with_dog, ours), encode(clip, plain))


def test_a_token_that_only_states_have_is_that_word(clip):
    taught = with_tokens(clip, {"<{A|b}/c>": initial_vectors(clip, "dog", 1)})
    assert torch.equal(encode(taught, "a (<{a|b}/c>:1.2) on grass"), encode(clip, "a (dog:1.2) on grass"))


PIECES = [*"a3é狗 !<>()\n", "<new1>", "<NEW1>", "house", ", ", "'s ", "\\(", "\\)", ":1.2)", " embedding:style "]
PIECES += ["<|endoftext|>", "word " * 20]


@settings(derandomize=True, max_examples=150, deadline=None)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=20))
def test_in_any_place_it_is_that_word(clip, with_dog, pieces):
    """The same chunks of 77, weights and word numbers. The ordinary word needs spaces, the token does not."""
    text = "".join(pieces)
    plain = text.replace("<new1>", " dog ").replace("<NEW1>", " dog ")
    ours, theirs = (one.tokenize(prompt, return_word_ids=True)["l"] for one, prompt in ((with_dog, text), (clip, plain)))
    table = token_embedding(clip)

    def comparable(chunks):
        items = [item for chunk in chunks for item, *_ in chunk]
        vectors = torch.stack([table[item].float() if isinstance(item, int) else item.float() for item in items])
        return vectors, [[rest for _, *rest in chunk] for chunk in chunks]

    (our_vectors, our_rest), (their_vectors, their_rest) = comparable(ours), comparable(theirs)
    assert our_rest == their_rest
    assert torch.equal(our_vectors, their_vectors)


def test_a_clip_that_knows_tokens_learns_more(clip):
    vectors = {"<new1>": initial_vectors(clip, "dog", 1), "<new2>": initial_vectors(clip, "red hat", 2)}
    first = with_tokens(clip, {"<new1>": vectors["<new1>"]})
    both = with_tokens(first, {"<new2>": vectors["<new2>"]})
    assert torch.equal(encode(both, "a <new1> in <new2>"), encode(clip, "a dog in red hat"))
    assert torch.equal(encode(first, "a <new2>"), encode(clip, "a <new2>"))


def test_several_vectors(clip):
    taught = with_tokens(clip, {"<two>": torch.cat([initial_vectors(clip, "red", 1), initial_vectors(clip, "dog", 1)])})
    assert torch.equal(encode(taught, "a <two> here"), encode(clip, "a red dog here"))


def test_several_tokens_and_common_prefixes(clip):
    vectors = {"<new1>": initial_vectors(clip, "dog", 1), "<new11>": initial_vectors(clip, "hat", 1)}
    taught = with_tokens(clip, vectors)
    assert torch.equal(encode(taught, "<new11> on <new1>"), encode(clip, "hat on dog"))


def test_base_clip_and_ordinary_prompts_stay(clip):
    text = "an <new1> dog (here:1.1)"
    before = encode(clip, text)
    taught = with_tokens(clip, {"<new1>": torch.randn(1, WIDTH)})
    assert torch.equal(encode(clip, text), before)
    assert not torch.equal(encode(taught, text), before)
    assert torch.equal(encode(taught, "a dog < new1 >"), encode(clip, "a dog < new1 >"))
    assert taught.cond_stage_model is clip.cond_stage_model


def test_clip_skip_still_works(clip):
    taught = with_tokens(clip, {"<new1>": initial_vectors(clip, "dog", 1)})
    skipped, plain = taught.clone(), clip.clone()
    skipped.clip_layer(-2)
    plain.clip_layer(-2)
    assert torch.equal(encode(skipped, "a <new1>"), encode(plain, "a dog"))
    assert not torch.equal(encode(skipped, "a <new1>"), encode(taught, "a <new1>"))


def test_a_token_cannot_be_taught_twice(clip):
    taught = with_tokens(clip, {"<new1>": torch.randn(1, WIDTH)})
    with pytest.raises(CNSError, match="already knows <new1>"):
        with_tokens(taught, {"<New1>": torch.randn(1, WIDTH)})


def started_from(*words: str) -> list[LearnedConcept]:
    mask = NeuronMask.empty(KVLayout.from_shapes({"x.attn2.to_k": (2, 2)}))
    return [LearnedConcept("<a>", "dog", mask, torch.ones(1, 2), ("a",), {STARTED_FROM: word}, {}) for word in words]


def test_where_a_token_starts(clip):
    rare = TrainConfig(token_start="rare word")
    words: list[str] = []
    for _ in RARE_WORDS:
        words.append(initial_word(rare, "dog", started_from(*words)))
    assert sorted(words) == sorted(set(RARE_WORDS))
    assert initial_word(rare, "dog", started_from(*words)) == words[0]
    assert initial_word(rare, "dog", started_from(words[1])) == words[2]  # the first concept was removed
    assert initial_word(TrainConfig(), "dog", started_from(*words[:3])) == "dog"
    assert initial_word(TrainConfig(token_start="rare word", initial_word=" cat "), "dog", []) == "cat"
    tokenizer = clip.tokenizer.clip_l.tokenizer
    assert {len(tokenizer(word, add_special_tokens=False)["input_ids"]) for word in RARE_WORDS} == {1}


def test_initial_vectors(clip):
    one, two = initial_vectors(clip, "dog", 1), initial_vectors(clip, "dog", 2)
    assert one.shape == (1, WIDTH)
    assert torch.equal(two[:1], one)
    apart = float((two[1] - one[0]).norm() / one.norm())
    assert 0.02 < apart < 0.5  # near the word, but nowhere equal: equal vectors would get the same gradients
    assert torch.equal(two, initial_vectors(clip, "dog", 2))
    assert not torch.equal(two, initial_vectors(clip, "dog", 2, seed=1))
    pieces = initial_vectors(clip, "red dog", 2)
    assert torch.equal(pieces[1:], one)
    assert torch.allclose(initial_vectors(clip, "red dog", 1), pieces.mean(0, keepdim=True))
    with pytest.raises(CNSError, match="has no tokens"):
        initial_vectors(clip, " ", 1)
