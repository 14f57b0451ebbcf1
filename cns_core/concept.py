"""A concept to teach: its images, captions, token and class noun, and the prompts made of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import CNSError
from .words import beside, find_word, is_joined, spelling

# In prompts, ComfyUI takes ( ) : \ for weights and files, and its editor { } | / for choices and comments.
_TOKEN = re.compile(r"<[^\s<>():\\,{}|/]+>")
_STORED_TOKEN = re.compile(r"<[^\s<>():\\,]+>")


def check_token(token: str) -> str:
    """Returns the token stripped and in Unicode's composed form (NFC), as it is typed.

    Raises:
        CNSError: not of the form ``<name>``, which keeps it apart from every ordinary word, or not to be found in a prompt.
    """
    token = unicodedata.normalize("NFC", token.strip())
    if not _TOKEN.fullmatch(token) or not token.isprintable():
        raise CNSError(
            f"The token {token!r} must be one name in angle brackets, like <new1>, without spaces, invisible characters or "
            "any of ( ) { } < > : , / | \\, so that a prompt can contain it but no ordinary prompt does."
        )
    if len(token.lower()) != len(token):
        raise CNSError(
            f"The token '{token}' has a letter that becomes two characters in lower case, as İ does. CLIP reads lower "
            "case, so it could not be found in a prompt: use another letter."
        )
    return token


def check_stored_token(token: str) -> None:
    """Raises CNSError where a state's token is not of the form ``<name>``.

    Tokens with { } | or / are not given to new concepts, but prompts that do not come from the editor can have them.
    """
    if not _STORED_TOKEN.fullmatch(token):
        raise CNSError(f"The token {token!r} is not one name in angle brackets, like <new1>.")


def check_noun(noun: str) -> str:
    """Returns the class noun stripped, with single spaces and in Unicode's composed form (NFC), as it is typed.

    Raises:
        CNSError: empty, or with angle brackets.
    """
    noun = " ".join(unicodedata.normalize("NFC", noun).split())
    if not noun:
        raise CNSError("The class noun is empty: name what the concept is, for example 'dog'.")
    if "<" in noun or ">" in noun:
        raise CNSError(f"The class noun '{noun}' must be an ordinary word, like 'dog'; the token has its own field.")
    return noun


def check_images(images: Sequence[Tensor]) -> None:
    """Raises CNSError where there are none, or one is unfit."""
    if not images:
        raise CNSError("No concept images were given: wire at least one IMAGE.")
    for number, image in enumerate(images, start=1):
        check_image(image, f"Image {number}")


def check_image(image: Tensor, name: str) -> None:
    """Raises CNSError unless it is (height, width, 3) and finite."""
    if image.ndim != 3 or image.shape[-1] != 3:
        raise CNSError(f"{name} has shape {tuple(image.shape)} where height x width x 3 is needed: {_remedy(image)}.")
    if not bool(torch.isfinite(image).all()):
        raise CNSError(f"{name} holds NaN or infinite pixels: check the node that makes it.")


def _remedy(image: Tensor) -> str:
    return "split off its alpha channel with 'Split Image with Alpha'" if image.shape[-1:] == (4,) else "wire a colour image"


@dataclass(frozen=True, eq=False)
class Concept:
    """``images``: float32 (height, width, 3) in 0..1, sizes may differ; one caption for each. ``masks``: empty, or for each
    image float32 (height, width), 1 where the concept is, or None for all of it.
    """

    token: str
    noun: str
    images: tuple[Tensor, ...]
    captions: tuple[str, ...]
    masks: tuple[Tensor | None, ...] = ()

    def __post_init__(self) -> None:
        check_token(self.token)
        check_noun(self.noun)
        check_images(self.images)
        if len(self.captions) != len(self.images):
            raise CNSError(
                f"There are {len(self.captions)} captions for {len(self.images)} images: give one caption for each image, "
                "in the same order."
            )
        if self.masks and len(self.masks) != len(self.images):
            raise CNSError(
                f"There are {len(self.masks)} masks for {len(self.images)} images: give one for each image, or none."
            )
        for number, caption in enumerate(self.captions, start=1):
            if not caption.strip():
                raise CNSError(f"The caption of image {number} is empty: describe the image, for example 'a dog on grass'.")

    @property
    def descriptions(self) -> tuple[str, ...]:
        """The captions as prompts any CLIP can read: ``a <new1> dog`` and ``a <new1>`` become ``a dog``, all else stays."""
        return tuple(literal(caption) for caption in self.plain_captions)

    @property
    def plain_captions(self) -> tuple[str, ...]:
        """The captions in ordinary words, as text."""
        return tuple(without_token(unicodedata.normalize("NFC", text), self.token, self.noun) for text in self.captions)

    @property
    def name(self) -> str:
        """``<new1> dog``: how prompts call the concept."""
        return f"{self.token} {self.noun}"


def without_token(caption: str, token: str, noun: str) -> str:
    """In ordinary words: ``a <new1> dog`` and ``a <new1>`` become ``a dog``."""
    plain, *rest = re.split(re.escape(token), caption, flags=re.IGNORECASE)
    for part in rest:
        named = re.match(rf"\s*{spelling(noun)}", part, re.IGNORECASE)
        if named and not is_joined(part, named.end()):
            part = part[named.end() :]
        plain = beside(beside(plain, noun), part)
    return plain


def instance_prompt(caption: str, token: str, noun: str) -> str:
    """The caption with its first class noun replaced by ``<newN> noun``; put in front where the caption lacks the noun."""
    name = f"{token} {noun}"
    place = find_word(caption, noun)
    return f"{caption[: place.start()]}{name}{caption[place.end() :]}" if place else f"{name}, {caption}"


def literal(text: str) -> str:
    """The prompt that ComfyUI reads as this text: its parentheses give no weight, its ``embedding:`` loads no file."""
    escaped = re.sub(r"[()]", r"\\\g<0>", text)
    return escaped.replace("embedding:", "Embedding:")  # ComfyUI looks only for lower case; to CLIP both are the same


def _caption_prompts(caption: str, concept: Concept, template: str) -> tuple[str, ...]:
    return (instance_prompt(caption, concept.token, concept.noun),)


def _template_prompts(caption: str, concept: Concept, template: str) -> tuple[str, ...]:
    return (template.replace("{concept}", concept.name),)


def _mixed_prompts(caption: str, concept: Concept, template: str) -> tuple[str, ...]:
    return _caption_prompts(caption, concept, template) + _template_prompts(caption, concept, template)


PROMPT_MODES = {"mix": _mixed_prompts, "caption": _caption_prompts, "template": _template_prompts}


def training_prompts(concept: Concept, mode: str, template: str) -> list[tuple[str, ...]]:
    """For each image the prompts it is trained with; a step draws one of them. Captions and template are read literally.

    Raises:
        CNSError: unknown mode.
    """
    if mode not in PROMPT_MODES:
        raise CNSError(f"There is no prompt mode '{mode}': choose one of {', '.join(PROMPT_MODES)}.")
    texts = (PROMPT_MODES[mode](caption, concept, template) for caption in concept.plain_captions)
    return [tuple(map(literal, choices)) for choices in texts]
