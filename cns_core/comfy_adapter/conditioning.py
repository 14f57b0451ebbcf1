"""``c(p)``: the text conditioning ComfyUI itself generates with."""

from __future__ import annotations

from collections.abc import Callable

from comfy.sd import CLIP
from torch import Tensor

from ..errors import CNSError


def encode(clip: CLIP, prompt: str) -> Tensor:
    """Conditioning (tokens, features), float32; 77 tokens, or a multiple for a long prompt.

    Read as CLIPTextEncode reads it, with weights and ``embedding:``; :func:`..concept.literal` makes a prompt of plain text.

    Raises:
        CNSError: the prompt is empty.
    """
    if not prompt.strip():
        raise CNSError("A prompt is empty: write a few words, or delete the empty line.")
    return features(clip, prompt)


def features(clip: CLIP, prompt: str) -> Tensor:
    """The same of any prompt, the empty one included."""
    return clip.encode_from_tokens(clip.tokenize(prompt))[0].float().clone()


def encode_all(clip: CLIP, prompts: list[str], on_prompt: Callable[[], None]) -> list[Tensor]:
    """One conditioning for each prompt; each different one is encoded once, and ``on_prompt`` is called after it."""
    encoded: dict[str, Tensor] = {}
    for prompt in prompts:
        if prompt not in encoded:
            encoded[prompt] = encode(clip, prompt)
            on_prompt()
    return [encoded[prompt] for prompt in prompts]
