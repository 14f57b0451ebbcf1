"""Pictures and sentences in one space, as CLIP does it, for CLIP-I and CLIP-T on the drawn world."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from demo.world.new_concepts import NEW_CONCEPTS
from demo.world.palette import COLORS, PATTERNS, SIZES
from demo.world.places import PLACES
from demo.world.styles import STYLES
from demo.world.things import KINDS, THINGS

from .trunk import FEATURES, Trunk, as_input

FILE = Path(__file__).with_name("image_text.safetensors")
_WIDTH, _LENGTH = 128, 48
_WORD = re.compile(r"[a-z]+|,")
_PHRASES = (
    *("a an and , left of above in on the under by background picture photo drawing", *THINGS, *COLORS, *PATTERNS, *SIZES),
    *(*STYLES, *KINDS, *(place.words for place in PLACES.values())),
    *(f"{concept.name} {concept.words()}" for concept in NEW_CONCEPTS.values()),
)
WORDS = sorted({word for phrase in _PHRASES for word in _WORD.findall(phrase)})
_NUMBERS = {word: number for number, word in enumerate(WORDS, start=1)}


def numbers(text: str) -> list[int]:
    """A sentence as _LENGTH word numbers; 0 pads."""
    known = [_NUMBERS[word] for word in _WORD.findall(text.lower()) if word in _NUMBERS][:_LENGTH]
    return known + [0] * (_LENGTH - len(known))


class ImageText(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk()
        self.image_out = nn.Linear(FEATURES * 16, _WIDTH)
        self.words = nn.Embedding(len(WORDS) + 1, _WIDTH, padding_idx=0)
        self.places = nn.Parameter(0.02 * torch.randn(_LENGTH, _WIDTH))
        layer = nn.TransformerEncoderLayer(_WIDTH, 4, 2 * _WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.sentence = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.text_out = nn.Linear(_WIDTH, _WIDTH)
        self.log_scale = nn.Parameter(torch.tensor(2.5))

    def images(self, x: Tensor) -> Tensor:
        """(b, 3, 128, 128) in -1..1 -> unit vectors (b, _WIDTH). Where things are is kept to a quarter of the side."""
        return functional.normalize(self.image_out(functional.avg_pool2d(self.trunk(x), 2).flatten(1)), dim=1)

    def texts(self, words: Tensor) -> Tensor:
        """Word numbers int64 (b, _LENGTH) -> unit vectors (b, _WIDTH)."""
        padding = words == 0
        features = self.sentence(self.words(words) + self.places, src_key_padding_mask=padding)
        kept = (~padding).unsqueeze(-1).float()
        return functional.normalize(self.text_out((features * kept).sum(1) / kept.sum(1).clamp(min=1)), dim=1)

    @torch.inference_mode()
    def of_pictures(self, pixels: np.ndarray) -> Tensor:
        """uint8 (b, 128, 128, 3) -> unit vectors (b, _WIDTH)."""
        return self.images(as_input(pixels))

    @torch.inference_mode()
    def of_sentences(self, sentences: list[str]) -> Tensor:
        return self.texts(torch.tensor([numbers(sentence) for sentence in sentences]))


def load() -> ImageText:
    model = ImageText()
    model.load_state_dict({name: value.float() for name, value in load_file(FILE).items()})
    return model.eval().requires_grad_(False)
