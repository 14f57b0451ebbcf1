"""The judge's scores against the formulas, and what it sees against CLIP's own preprocessing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cns_pack.cns_core.judge import CLIP, DINO, ceiling, image_alignment, text_alignment
from PIL import Image
from torch.nn import functional
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

SIZES = [(300, 200), (201, 333), (224, 224), (64, 100)]  # height, width


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b / (a @ a).sqrt() / (b @ b).sqrt())


def test_text_alignment_is_clip_score():
    pictures, texts = features(6, 5), features(6, 5, seed=1)
    expected = [max(0.0, 2.5 * cosine(picture, text)) for picture, text in zip(pictures, texts, strict=True)]
    assert text_alignment(pictures, texts).tolist() == pytest.approx(expected, abs=1e-12)
    assert 0.0 in expected  # a negative cosine is among them


def test_image_alignment_is_the_mean_over_all_pairs():
    pictures, own = features(3, 5), features(4, 5, seed=1)
    expected = [np.mean([cosine(picture, reference) for reference in own]) for picture in pictures]
    assert image_alignment(pictures, own).tolist() == pytest.approx(expected, abs=1e-12)


def test_the_ceiling_leaves_out_each_picture_with_itself():
    own = features(4, 5)
    pairs = [cosine(own[i], own[j]) for i in range(4) for j in range(4) if i != j]
    assert ceiling(own) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert np.isnan(ceiling(own[:1]))


@pytest.mark.parametrize(("prepared", "shorter"), [(CLIP, 224), (DINO, 256)])
@pytest.mark.parametrize("size", SIZES)
def test_pictures_are_prepared_as_the_references_do(prepared, shorter, size):
    """torchvision's transforms, which CLIP's and DINO's own code is made of."""
    image = features(*size, 3).abs().clamp(0, 1).float()
    picture = Image.fromarray((image * 255).round().to(torch.uint8).numpy())
    steps = [Resize(shorter, InterpolationMode.BICUBIC), CenterCrop(224), ToTensor(), Normalize(prepared.mean, prepared.std)]
    assert torch.equal(prepared([image])[0], Compose(steps)(picture))


def test_prepared_pictures_are_close_to_what_transformers_makes():
    from transformers import CLIPImageProcessor

    image = functional.interpolate(features(1, 3, 8, 10), (300, 400), mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0).float()
    picture = Image.fromarray((image * 255).round().to(torch.uint8).numpy())
    expected = CLIPImageProcessor()(picture, return_tensors="pt")["pixel_values"][0]
    assert torch.allclose(CLIP([image])[0], expected, atol=1e-5)
