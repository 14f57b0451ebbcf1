"""Text features of a training's prompts, with gradients to the vectors of the token that is learned."""

from __future__ import annotations

import torch
from comfy.sd import CLIP
from comfy.sd1_clip import SD1ClipModel
from torch import Tensor

from ...training.batches import stack_contexts
from .tokens import splicer, with_tokens


class PromptEncoder:
    """What :func:`.conditioning.encode_all` gives, of all prompts of a step at once and each different one once.

    ComfyUI's own ``encode_token_weights`` takes one prompt at a time, and its result to the CPU.
    """

    def __init__(self, clip: CLIP, text_model: SD1ClipModel, token: str) -> None:
        self._text_model, self._token, self._layer = text_model, token.lower(), clip.layer_idx
        self._taught = with_tokens(clip, {token: torch.empty(0, 0)})
        self._vectors = splicer(self._taught).vectors

    def __call__(self, prompts: list[str], vectors: Tensor) -> Tensor:
        """Prompts with the token, its vectors (n, features) -> float32 (prompts, tokens, features) on the model's device."""
        self._vectors[self._token] = vectors
        different = list(dict.fromkeys(prompts))
        tokenized = [self._taught.tokenize(prompt)[self._text_model.clip_name] for prompt in different]
        sections = [section for prompt in tokenized for section in prompt]  # 77 tokens each, several of a long prompt
        features = self._encode(sections)
        contexts = [torch.cat(part.unbind()).unsqueeze(0) for part in features.split([len(prompt) for prompt in tokenized])]
        return stack_contexts([contexts[different.index(prompt)] for prompt in prompts])

    def _encode(self, sections: list[list[tuple]]) -> Tensor:
        """(sections, 77, features), weighted as in ComfyUI: away from, or towards, the empty prompt's features."""
        self._text_model.reset_clip_options()
        if self._layer is not None:
            self._text_model.set_clip_options({"layer": self._layer})
        encoder = getattr(self._text_model, self._text_model.clip)
        weights = [[token[1] for token in section] for section in sections]
        if all(weight == 1 for section in weights for weight in section):
            return encoder.encode(_ids(sections))[0]
        (nothing,) = self._taught.tokenize("")[self._text_model.clip_name]
        features = encoder.encode(_ids([*sections, nothing]))[0]
        return torch.lerp(features[-1], features[:-1], torch.tensor(weights).unsqueeze(-1).to(features.device))


def _ids(sections: list[list[tuple]]) -> list[list]:
    return [[token[0] for token in section] for section in sections]
