"""What nodes say in words."""

from __future__ import annotations

import torch
from cns_pack.cns_core.figures import enlarged_figures


def images(*sizes: tuple[int, int]) -> list[torch.Tensor]:
    return [torch.zeros(*size, 3) for size in sizes]


def test_enlarged_images_are_counted():
    concept, prior = images((63, 90), (64, 64), (128, 80)), images((64, 40), (10, 10))
    advice = "which blurs them: use larger ones, or a lower resolution"
    assert enlarged_figures({"concept": concept, "prior": prior}, 64) == (
        f"- 1 of 3 concept images and 2 of 2 prior images were enlarged to 64 px, {advice}"
    )
    assert enlarged_figures({"concept": concept, "prior": []}, 64) == (
        f"- 1 of 3 concept images was enlarged to 64 px, {advice}"
    )
    assert enlarged_figures({"concept": concept[1:], "prior": []}, 64) == ""
