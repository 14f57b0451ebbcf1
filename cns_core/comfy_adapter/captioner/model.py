"""Asks a loaded image-to-text model for a caption."""

from __future__ import annotations

import inspect
import itertools
from dataclasses import dataclass
from typing import Any

import comfy.model_management as memory
import torch
from PIL import Image
from torch import Tensor

from .replies import caption_in, loops

# What a chat model is asked.
INSTRUCTION = "Describe this image in one sentence of about twenty words: the main subject, its surroundings and the light."
# What others are asked, by their model_type; the rest caption a picture without a word.
_PROMPTS = {
    "florence2": "<DETAILED_CAPTION>",
    "instructblip": "A short image description:",
    "kosmos-2": "An image of",
    "paligemma": "caption en",
}
_MAX_NEW_TOKENS = 60  # CLIP reads 75, and the concept's token joins them


@dataclass(frozen=True, eq=False)
class CaptioningModel:
    """``processor`` makes inputs of a picture and a prompt, ``tokenizer`` makes text of the output."""

    model: Any
    processor: Any
    tokenizer: Any
    dtype: torch.dtype

    def caption(self, picture: Image.Image) -> str:
        """One line, "" where the model says nothing. Greedy, so that a picture always gets the same caption.

        A caption that runs in circles is made again, with no pair of tokens twice. All captions made so would be worse:
        a breed whose name takes several tokens could not be named a second time.
        """
        prompt = self._prompt()
        inputs = self._inputs(picture, prompt)
        output = self._generate(inputs)
        start = _prompt_length(inputs.get("input_ids"), output)
        caption = self._read(output[start:], prompt)
        if loops(caption):
            caption = self._read(self._generate(inputs, logits_processor=[_NoPairTwice(start)])[start:], prompt)
        return caption

    def _prompt(self) -> str:
        template = getattr(self.processor, "chat_template", None) or getattr(self.tokenizer, "chat_template", None)
        if not template or not hasattr(self.processor, "apply_chat_template"):
            return _PROMPTS.get(self.model.config.model_type, "")
        content = [{"type": "image"}, {"type": "text", "text": INSTRUCTION}]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=template if isinstance(template, str) else None,
            add_generation_prompt=True,
            **({"enable_thinking": False} if "enable_thinking" in str(template) else {}),
        )

    def _inputs(self, picture: Image.Image, prompt: str) -> dict[str, Tensor]:
        """What the model takes of what the processor makes: some tokenizers add token types that no model asked for."""
        text: dict[str, Any] = {"text": [prompt]} if prompt else {}
        if self.tokenizer.bos_token and prompt.startswith(self.tokenizer.bos_token):
            text["add_special_tokens"] = False
        made = self.processor(images=[picture], return_tensors="pt", **text)
        taken = {*inspect.signature(self.model.forward).parameters, *inspect.signature(self.model.generate).parameters}
        return {
            name: value.to(self.model.device, self.dtype if value.is_floating_point() else None)
            for name, value in made.items()
            if name in taken and isinstance(value, Tensor)
        }

    def _generate(self, inputs: dict[str, Tensor], **options: Any) -> Tensor:
        """Token ids; those there are when the user presses Cancel."""
        outputs = self.model.generate(
            **inputs,
            max_new_tokens=_MAX_NEW_TOKENS,
            do_sample=False,
            return_dict_in_generate=False,
            stopping_criteria=[lambda *_, **__: memory.processing_interrupted()],
            **options,
        )
        return outputs[0]

    def _read(self, ids: Tensor, prompt: str) -> str:
        tokenizer = self.tokenizer
        special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        special |= set(tokenizer.all_special_tokens)
        reply = tokenizer.decode(ids, skip_special_tokens=False)
        if tokenizer.unk_token and tokenizer.unk_token not in {tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token}:
            reply = reply.replace(tokenizer.unk_token, "")  # in the middle of a caption, where others end it
        return caption_in(reply, prompt, INSTRUCTION, special)


class _NoPairTwice:
    """A logits processor: no two tokens follow each other twice after ``start``.

    transformers' own counts the prompt as well, and so forbids a chat model to end as the prompt's turns end.
    """

    def __init__(self, start: int) -> None:
        self._start = start

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        scores = scores.clone()
        for row, said in enumerate(ids[:, self._start :].tolist()):
            scores[row, [after for before, after in itertools.pairwise(said) if before == said[-1]]] = -torch.inf
        return scores


def _prompt_length(prompt: Tensor | None, output: Tensor) -> int:
    """How many of the output's tokens are the prompt's: all of them, or none where a model gives only its own."""
    if prompt is None or not torch.equal(prompt[0], output[: prompt.shape[1]]):
        return 0
    return prompt.shape[1]
