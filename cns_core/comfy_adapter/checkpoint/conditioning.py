"""``c(p)``: the text conditioning ComfyUI itself generates with."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from comfy.sd import CLIP
from torch import Tensor

from ...errors import CNSError
from ...training.keep_term import Row, held_moment

_TOGETHER = 8  # prompts: faster than one at a time, and Cancel is still obeyed soon


def encode_all(clip: CLIP, prompts: list[str], on_prompt: Callable[[], None] = lambda: None) -> list[Tensor]:
    """One conditioning (tokens, features), float32, for each prompt: 77 tokens, or a multiple for a long one. Each different
    prompt is encoded once, and ``on_prompt`` is called for it.

    Read as CLIPTextEncode reads it, with weights and ``embedding:``; :func:`...concept.literal` makes a prompt of plain text.

    Raises:
        CNSError: a prompt is empty.
    """
    if not all(prompt.strip() for prompt in prompts):
        raise CNSError("A prompt is empty: write a few words, or delete the empty line.")
    return features(clip, prompts, on_prompt)


def features(clip: CLIP, prompts: list[str], on_prompt: Callable[[], None] = lambda: None) -> list[Tensor]:
    """The same of any prompts, the empty one included."""
    different = list(dict.fromkeys(prompts))
    encoded: dict[str, Tensor] = {}
    for start in range(0, len(different), _TOGETHER):
        batch = different[start : start + _TOGETHER]
        for prompt, conditioning in zip(batch, _together(clip, batch), strict=True):
            encoded[prompt] = conditioning
            on_prompt()
    return [encoded[prompt] for prompt in prompts]


def _together(clip: CLIP, prompts: list[str]) -> list[Tensor]:
    """The same as one prompt at a time: ComfyUI encodes all sections of a long prompt at once and puts them in a row."""
    tokenized = [clip.tokenize(prompt) for prompt in prompts]
    (name,) = tokenized[0]
    sections = {name: [section for tokens in tokenized for section in tokens[name]]}
    encoded = cast(Tensor, clip.encode_from_tokens(sections))[0].float()  # (rows, features) unless asked for more
    rows = [sum(len(section) for section in tokens[name]) for tokens in tokenized]
    return [part.clone() for part in encoded.split(rows)]


def moment_of(clip: CLIP, prompts: list[str], on_prompt: Callable[[], None] = lambda: None) -> Tensor:
    """The prompts' :func:`...training.keep_term.held_moment`; ``on_prompt`` as in :func:`features`."""
    return held_moment(features(clip, prompts, on_prompt), [row_kinds(clip, prompt) for prompt in prompts])


def row_kinds(clip: CLIP, prompt: str) -> Tensor:
    """What each row of a prompt's conditioning stands for: int64 (tokens,) of :class:`Row`."""
    (sections,) = clip.tokenize(prompt).values()
    end = getattr(clip.tokenizer, clip.tokenizer.clip).end_token
    return torch.tensor([kind for section in sections for kind in _kinds([token for token, *_ in section], end)])


def _kinds(tokens: list[int | Tensor], end: int) -> list[Row]:
    words = next(place for place, token in enumerate(tokens) if not isinstance(token, Tensor) and token == end) - 1
    kinds = [Row.OWN if isinstance(token, Tensor) else Row.WORD for token in tokens[1 : words + 1]]
    return [Row.START, *kinds, *[Row.PADDING] * (len(tokens) - 1 - words)]
