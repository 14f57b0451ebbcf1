"""Scores of pictures: against the text they were asked for, and against a concept's own pictures.

On the scale of the paper's tables, which is that of Custom Diffusion (Kumari et al. 2023) and CIFC (Dong et al. 2024): text
alignment is CLIPScore (Hessel et al. 2021), ``2.5 · max(cos, 0)``, image alignment the plain cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

CLIP_SCORE = 2.5  # times the cosine of picture and text


def text_alignment(pictures: Tensor, texts: Tensor) -> Tensor:
    """``2.5 · max(cos, 0)`` of each picture and its text: features (n, f) and (n, f) -> (n,)."""
    return CLIP_SCORE * functional.cosine_similarity(pictures, texts).clamp_min(0)


def image_alignment(pictures: Tensor, references: Tensor) -> Tensor:
    """Mean cosine of each picture and a concept's own: features (n, f) and (m, f) -> (n,)."""
    return (functional.normalize(pictures, dim=1) @ functional.normalize(references, dim=1).T).mean(1)


def ceiling(references: Tensor) -> float:
    """Mean cosine of a concept's own pictures (m, f) with each other: a model that scores more copies them. NaN for one."""
    count = len(references)
    if count < 2:
        return float("nan")
    total = image_alignment(references, references).sum() * count
    return ((total - count) / (count * (count - 1))).item()


@dataclass(frozen=True)
class Preprocessing:
    """How a judge looks at a picture: the shorter side in pixels, bicubic, then a square from its centre, then normalized."""

    shorter_side: int
    square: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, images: Sequence[Tensor]) -> Tensor:
        """Images float (height, width, 3) in 0..1, sizes may differ -> float32 (n, 3, square, square)."""
        return torch.stack([self._prepared(image) for image in images])

    def _prepared(self, image: Tensor) -> Tensor:
        picture = Image.fromarray((image.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy())
        shorter = min(picture.size)
        width, height = (int(self.shorter_side * side / shorter) for side in picture.size)  # cut off, not rounded
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (round((side - self.square) / 2) for side in picture.size)
        picture = picture.crop((left, top, left + self.square, top + self.square))
        values = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255
        return (values - torch.tensor(self.mean).view(3, 1, 1)) / torch.tensor(self.std).view(3, 1, 1)


# Whatever a folder's own settings say: these are what the published figures were made with.
CLIP = Preprocessing(224, 224, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
DINO = Preprocessing(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
