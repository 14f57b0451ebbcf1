"""Modifier tokens in prompts: a CLIP whose tokenizer turns ``<newN>`` into its learned vectors.

ComfyUI's text encoder accepts vectors among token ids (that is how textual inversion embeddings reach it), so the
text encoder itself stays as it is, prompt weights and ``embedding:`` go on working, and the base CLIP is never touched.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from comfy.sd import CLIP
from torch import Tensor

from ...config import TrainConfig
from ...errors import CNSError
from ...state import LearnedConcept
from .checks import token_embedding
from .token_splicer import TokenSplicer

# Each is one entry of CLIP's vocabulary, and means next to nothing to it. The first two are Custom Diffusion's.
RARE_WORDS = (
    "ucd",
    "pll",
    "phol",
    "oxi",
    "shld",
    "olis",
    "ohwx",
    "rsl",
    "smw",
    "lhp",
    "tmw",
    "mwf",
    "brs",
    "ttm",
    "snf",
    "mmc",
)
STARTED_FROM = "started_from"  # the word, in a concept's settings


def with_tokens(clip: CLIP, vectors: Mapping[str, Tensor]) -> CLIP:
    """A CLIP that shares everything with ``clip`` but understands the tokens; ``clip`` stays as it was.

    Raises:
        CNSError: a token is known to ``clip`` already.
    """
    known: Mapping[str, Tensor] = getattr(clip.tokenizer, "cns_tokens", {})
    twice = sorted({token.lower() for token in known} & {token.lower() for token in vectors})
    if twice:
        raise CNSError(f"The CLIP wired in already knows {', '.join(twice)}: wire the loader's CLIP; one state holds all.")
    if not vectors:
        return clip.clone()
    taught = clip.clone()
    outer = copy.copy(clip.tokenizer)
    inner = copy.copy(getattr(outer, outer.clip))
    inner.tokenizer = _taught(inner.tokenizer, vectors)
    setattr(outer, outer.clip, inner)
    outer.cns_tokens = {**known, **vectors}
    taught.tokenizer = outer
    return taught


def _taught(tokenizer: object, vectors: Mapping[str, Tensor]) -> TokenSplicer:
    if isinstance(tokenizer, TokenSplicer):  # one for all tokens
        return TokenSplicer(tokenizer.base, {**tokenizer.vectors, **vectors})
    return TokenSplicer(tokenizer, vectors)


def splicer(clip: CLIP) -> TokenSplicer:
    """Of a CLIP made by :func:`with_tokens`; its ``vectors`` may change while it is used."""
    return getattr(clip.tokenizer, clip.tokenizer.clip).tokenizer


def initial_word(config: TrainConfig, noun: str, concepts: Sequence[LearnedConcept]) -> str:
    """The word that the token of the concept after ``concepts`` starts from; of rare words one that none of them has."""
    word = config.initial_word.strip()
    if word or config.token_start == "class noun":
        return word or noun
    used = {concept.settings.get(STARTED_FROM) for concept in concepts}
    first = len(concepts) % len(RARE_WORDS)
    in_turn = RARE_WORDS[first:] + RARE_WORDS[:first]
    return next((word for word in in_turn if word not in used), in_turn[0])


def initial_vectors(clip: CLIP, word: str, count: int, seed: int = 0) -> Tensor:
    """``count`` vectors (count, features) to start a token from: the embedding of an ordinary word.

    A word of as many pieces as vectors gives them one by one; otherwise the first is the mean of the pieces, and the others
    lie around it, a tenth of the vocabulary's spread away: equal ones would get equal gradients but for their places.

    Raises:
        CNSError: the word is empty for the tokenizer.
    """
    outer = clip.tokenizer
    ids = getattr(outer, outer.clip).tokenizer(word, add_special_tokens=False)["input_ids"]
    if not ids:
        raise CNSError(f"The initial word '{word.strip()}' has no tokens: name an ordinary word such as 'dog'.")
    vocabulary = token_embedding(clip).detach()
    pieces = vocabulary[ids].float().cpu().clone()
    if len(pieces) == count:
        return pieces
    vectors = pieces.mean(dim=0, keepdim=True).repeat(count, 1)
    noise = torch.randn(count - 1, vectors.shape[1], generator=torch.Generator().manual_seed(seed))
    vectors[1:] += 0.1 * float(vocabulary.float().std()) * noise
    return vectors


def ordinary_norm(clip: CLIP) -> float:
    """The median length of the vocabulary's vectors."""
    return float(token_embedding(clip).detach().float().norm(dim=1).median())


def has_tokens(clip: CLIP) -> bool:
    """Whether Apply CNS State made this CLIP."""
    return bool(getattr(clip.tokenizer, "cns_tokens", None))
