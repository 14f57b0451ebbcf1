"""Modifier tokens in prompts: a CLIP whose tokenizer turns ``<newN>`` into its learned vectors.

ComfyUI's text encoder accepts vectors among token ids (that is how textual inversion embeddings reach it), so the
text encoder itself stays as it is, prompt weights and ``embedding:`` go on working, and the base CLIP is never touched.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from comfy.sd import CLIP
from torch import Tensor

from ...errors import CNSError
from .checks import token_embedding
from .token_splicer import TokenSplicer


def with_tokens(clip: CLIP, vectors: Mapping[str, Tensor]) -> CLIP:
    """A CLIP that shares everything with ``clip`` but understands the tokens; ``clip`` stays as it was.

    Raises:
        CNSError: a token is known to ``clip`` already.
    """
    known: Mapping[str, Tensor] = getattr(clip.tokenizer, "cns_tokens", {})
    twice = sorted({token.lower() for token in known} & {token.lower() for token in vectors})
    if twice:
        raise CNSError(f"The CLIP wired in already knows {', '.join(twice)}: wire the loader's CLIP, one state holds all.")
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


def initial_vectors(clip: CLIP, word: str, count: int) -> Tensor:
    """``count`` vectors (count, features) to start a token from: the embedding of an ordinary word.

    A word of as many pieces as vectors gives them one by one; otherwise each vector is the mean of the pieces.

    Raises:
        CNSError: the word is empty for the tokenizer.
    """
    outer = clip.tokenizer
    ids = getattr(outer, outer.clip).tokenizer(word, add_special_tokens=False)["input_ids"]
    if not ids:
        raise CNSError(f"The initial word '{word.strip()}' has no tokens: name an ordinary word such as 'dog'.")
    pieces = token_embedding(clip).detach()[ids].float().cpu().clone()
    return pieces if len(pieces) == count else pieces.mean(dim=0, keepdim=True).repeat(count, 1)


def has_tokens(clip: CLIP) -> bool:
    """Whether Apply CNS State made this CLIP."""
    return bool(getattr(clip.tokenizer, "cns_tokens", None))
