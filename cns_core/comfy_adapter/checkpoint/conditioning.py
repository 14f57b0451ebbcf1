"""``c(p)``: the text conditioning ComfyUI itself generates with."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from comfy.sd import CLIP
from torch import Tensor

from ...errors import CNSError
from ...training.keep_term import Row


def encode(clip: CLIP, prompt: str) -> Tensor:
    """Conditioning (tokens, features), float32; 77 tokens, or a multiple for a long prompt.

    Read as CLIPTextEncode reads it, with weights and ``embedding:``; :func:`...concept.literal` makes a prompt of plain text.

    Raises:
        CNSError: the prompt is empty.
    """
    if not prompt.strip():
        raise CNSError("A prompt is empty: write a few words, or delete the empty line.")
    return features(clip, prompt)


def features(clip: CLIP, prompt: str) -> Tensor:
    """The same of any prompt, the empty one included."""
    encoded = cast(Tensor, clip.encode_from_tokens(clip.tokenize(prompt)))  # (1, tokens, features) unless asked for more
    return encoded[0].float().clone()


def encode_all(clip: CLIP, prompts: list[str], on_prompt: Callable[[], None]) -> list[Tensor]:
    """One conditioning for each prompt; each different one is encoded once, and ``on_prompt`` is called after it."""
    encoded: dict[str, Tensor] = {}
    for prompt in prompts:
        if prompt not in encoded:
            encoded[prompt] = encode(clip, prompt)
            on_prompt()
    return [encoded[prompt] for prompt in prompts]


def row_kinds(clip: CLIP, prompt: str) -> Tensor:
    """What each row of ``encode(clip, prompt)`` stands for: int64 (tokens,) of :class:`Row`."""
    (sections,) = clip.tokenize(prompt).values()
    end = getattr(clip.tokenizer, clip.tokenizer.clip).end_token
    return torch.tensor([kind for section in sections for kind in _kinds([token for token, *_ in section], end)])


def _kinds(tokens: list[int | Tensor], end: int) -> list[Row]:
    words = next(place for place, token in enumerate(tokens) if not isinstance(token, Tensor) and token == end) - 1
    kinds = [Row.OWN if isinstance(token, Tensor) else Row.WORD for token in tokens[1 : words + 1]]
    return [Row.START, *kinds, *[Row.PADDING] * (len(tokens) - 1 - words)]
