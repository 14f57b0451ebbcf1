"""Whatever Hugging Face's tokenizer is asked for, a token's vectors stand where an ordinary word's ids would."""

from __future__ import annotations

import copy
from pathlib import Path

import comfy.sd1_clip
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.checkpoint.token_splicer import TokenSplicer
from cns_pack.cns_core.concept import check_token
from cns_pack.cns_core.errors import CNSError
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer, CLIPTokenizerFast

FILES = Path(comfy.sd1_clip.__file__).with_name("sd1_tokenizer")
TABLE = torch.randn(49408, 8, generator=torch.Generator().manual_seed(0))
# Each token's vectors are those of ordinary words, as long in letters as the token, so that offsets are the same too.
ORDINARY = {"<new1>": "flower", "<two>": "a dog"}
TEXTS = [
    "a <new1> on grass",
    "",
    "<new1>",
    "(<new1>), <new1>'s house!",
    "no token here",
    "red <NEW1>",
    "x " * 90 + "<new1> end",
]


@pytest.fixture(scope="module", params=[CLIPTokenizer, CLIPTokenizerFast], ids=["python", "rust"])
def base(request):
    return request.param.from_pretrained(FILES)


@pytest.fixture(scope="module")
def taught(base):
    vectors = {token: TABLE[base(word, add_special_tokens=False)["input_ids"]] for token, word in ORDINARY.items()}
    assert [len(rows) for rows in vectors.values()] == [1, 2]
    return TokenSplicer(base, vectors)


def ordinary(value):
    """Texts with the tokens' words, vectors as those words' ids."""
    if isinstance(value, list):
        return [ordinary(part) for part in value]
    if isinstance(value, str):
        for token, word in ORDINARY.items():
            value = value.replace(token, word).replace(token.upper(), word)
        return value
    return int((value == TABLE).all(dim=1).nonzero()) if isinstance(value, torch.Tensor) else value


def forms(texts):
    return st.tuples(
        st.lists(st.sampled_from(texts), min_size=1, max_size=3),
        st.fixed_dictionaries(
            {},
            optional={
                "add_special_tokens": st.booleans(),
                "padding": st.sampled_from(["max_length", "longest", False]),
                "truncation": st.booleans(),
                "max_length": st.integers(4, 12),
                "return_attention_mask": st.booleans(),
                "return_special_tokens_mask": st.booleans(),
                "return_length": st.booleans(),
                "text_pair": st.just("with a <new1>"),
            },
        ),
    )


@settings(derandomize=True, max_examples=60, deadline=None)
@given(form=forms([*TEXTS, "a <two> and <new1>", "<two> <two>"]))
def test_every_form_is_that_of_ordinary_words(base, taught, form):
    texts, options = form
    pair = options.pop("text_pair", None)
    for text, second in ((texts, pair and [pair] * len(texts)), (texts[0], pair)):
        ours = taught(text, second, **options)
        theirs = base(ordinary(text), ordinary(second), **options)
        assert type(ours) is type(theirs)
        assert {name: ordinary(values) for name, values in ours.items()} == dict(theirs)


def test_positions_and_windows(base, taught):
    if base.is_fast:
        options = {"return_offsets_mapping": True, "max_length": 8, "truncation": True, "stride": 2}
        ours = taught(TEXTS, return_overflowing_tokens=True, **options)
        theirs = base(ordinary(TEXTS), return_overflowing_tokens=True, **options)
        assert [ours.word_ids(i) for i in range(len(TEXTS))] == [theirs.word_ids(i) for i in range(len(TEXTS))]
    else:
        options = {"max_length": 8, "truncation": True, "return_overflowing_tokens": True}
        ours, theirs = taught(TEXTS[-1], **options), base(ordinary(TEXTS[-1]), **options)
        assert any(isinstance(item, torch.Tensor) for item in ours["overflowing_tokens"])
        with pytest.raises(NotImplementedError, match="offset"):  # the Python tokenizer has none
            taught(TEXTS[0], return_offsets_mapping=True)
    assert {name: ordinary(values) for name, values in ours.items()} == dict(theirs)


def test_words_and_ids_there_and_back(base, taught):
    text = "a <new1>'s <two>, red"
    assert ordinary(taught.encode(text)) == base.encode(ordinary(text))
    assert taught.encode(text, add_special_tokens=False)[1] is not None
    words = taught.tokenize(text)
    assert [word.removesuffix("</w>") for word in words] == ["a", "<new1>", "'s", "<two>", "<two>_1", ",", "red"]
    ids = taught.convert_tokens_to_ids(words)
    assert ordinary(ids) == base(ordinary(text), add_special_tokens=False)["input_ids"]
    assert taught.convert_ids_to_tokens(ids) == words
    assert taught.decode(ids) == "a <new1> 's <two> , red"
    assert taught.batch_decode([ids[:2], ids[5:]]) == ["a <new1>", ", red"]
    assert taught.decode(taught.encode(text), skip_special_tokens=True) == taught.decode(ids)
    assert ordinary(taught.pad([{"input_ids": ids}], padding="max_length", max_length=9)["input_ids"][0][:7]) == ordinary(ids)


def test_words_given_one_by_one(base, taught):
    words = [["a", "<new1>", "'s", "house"]]
    theirs = base(ordinary(words), is_split_into_words=True)["input_ids"]
    assert ordinary(taught(words, is_split_into_words=True)["input_ids"]) == theirs


@pytest.mark.parametrize("kind", ["pt", "np"])
def test_a_tensor_of_ids_cannot_hold_a_token(base, taught, kind):
    for call in (taught, taught.encode):
        with pytest.raises(CNSError, match="A tensor of ids cannot hold <new1>, which stands for learned vectors"):
            call("a <New1> dog", return_tensors=kind)
    assert (
        taught("a dog", return_tensors=kind)["input_ids"].tolist() == base("a dog", return_tensors=kind)["input_ids"].tolist()
    )


def test_offsets_of_several_vectors_are_refused(base, taught):
    if base.is_fast:
        with pytest.raises(CNSError, match="Offsets cannot be given for <two>"):
            taught("a <two>", return_offsets_mapping=True)


def test_what_has_no_token_goes_to_the_tokenizer_itself(base):
    fresh = TokenSplicer(base, {"<new1>": TABLE[:1]})
    text = "a dog, < new1 >, <new2>, new1"
    assert dict(fresh([text, "x"], padding=True)) == dict(base([text, "x"], padding=True))
    assert fresh.tokenize(text) == base.tokenize(text)
    assert fresh.decode(torch.tensor(fresh.encode(text))) == base.decode(base.encode(text))
    assert (len(fresh), fresh.eos_token_id, fresh.get_vocab()) == (len(base), 49407, base.get_vocab())
    assert "_copy" not in vars(fresh)


def test_the_tokenizer_stays_as_it_was(base, taught):
    before = (len(base), base("a <new1> <two>")["input_ids"])
    taught("a <new1> <two>")
    assert (len(base), base("a <new1> <two>")["input_ids"]) == before


def test_a_copy_works_like_it(taught):
    assert copy.copy(taught).tokenize("a <new1>") == copy.deepcopy(taught).tokenize("a <new1>") == taught.tokenize("a <new1>")


NAMES = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="<>():\\,{}|/"), min_size=1, max_size=4)


@settings(derandomize=True, max_examples=3, deadline=None)
@given(names=st.lists(NAMES, min_size=60, max_size=60, unique_by=str.lower))
def test_every_token_that_is_accepted_is_found(base, names):
    tokens = []
    for name in names:
        try:
            tokens.append(check_token(f"<{name}>"))
        except CNSError:
            assert len(name.lower()) > len(name)
    tokens = list({token.lower(): token for token in tokens}.values())
    splicer = TokenSplicer(base, dict.fromkeys(tokens, TABLE[:1]))
    lower = [token.lower() for token in tokens]
    assert splicer.tokenize(" ".join(tokens)) == splicer.tokenize("".join(lower)) == lower
