"""``c(p)``: the text conditioning ComfyUI itself generates with."""

from __future__ import annotations

from collections.abc import Callable

from comfy.sd import CLIP
from torch import Tensor

from ..errors import CNSError


def encode(clip: CLIP, prompt: str) -> Tensor:
    """Conditioning (tokens, features), float32; 77 tokens, or a multiple for a long prompt.

    Raises:
        CNSError: the prompt is empty.
    """
    if not prompt.strip():
        raise CNSError("A prompt is empty: write a few words, or delete the empty line.")
    return clip.encode_from_tokens(clip.tokenize(prompt))[0].float().clone()


def encode_all(clip: CLIP, prompts: list[str], on_prompt: Callable[[], None] = lambda: None) -> list[Tensor]:
    """One conditioning for each prompt; ``on_prompt`` is called after each."""
    contexts = []
    for prompt in prompts:
        contexts.append(encode(clip, prompt))
        on_prompt()
    return contexts
