"""What Compute Base Neurons says of captions."""

from __future__ import annotations

import re

import pytest
import torch
from cns_pack.cns_core.comfy_adapter.neurons import caption_figures, compute_neurons, prompt_masks

from tests.support.loading import encode


def figures(studio, *captions: str) -> list[str]:
    with torch.inference_mode():
        neurons = compute_neurons(studio.checkpoint, list(captions), 0.3, "base", None)
        return caption_figures(studio.checkpoint, neurons)


def test_where_the_scores_come_from(studio):
    (line, _) = figures(studio, "a dog")
    squared = encode(studio.clip, "a dog").square().sum(dim=1)
    words, padding, start = (squared[part].sum() / squared.sum() for part in (slice(1, 3), slice(3, None), slice(0, 1)))
    assert line == (
        f"the scores come {words:.0%} from the captions' words, {padding:.0%} from their end and padding, {start:.0%} from "
        "their start"
    )
    shares = list(map(int, re.findall(r"(\d+)%", line)))
    assert 98 <= sum(shares) <= 102


def test_one_caption_is_warned_of(studio):
    assert "one caption selects about three times as many weights" in figures(studio, "a dog on grass")[1]


@pytest.mark.parametrize("captions", [("a dog", "a dog"), ("a dog", "a dog", "a dog")])
def test_captions_that_select_the_same_are_warned_of(studio, captions):
    assert "select nearly the same (IoU 1.00 or more)" in figures(studio, *captions)[1]


def test_captions_that_differ_are_not(studio):
    captions = ["a dog on grass in the sun", "two red cars in the rain at night"]
    with torch.inference_mode():
        first, second = prompt_masks(studio.checkpoint, captions, 0.3, None)
    assert first.iou(second) < 0.85
    assert len(figures(studio, *captions)) == 1


def test_the_bound_is_the_iou_of_two(studio, monkeypatch):
    from cns_pack.cns_core.comfy_adapter import neurons as module

    captions = ["a dog on grass in the sun", "two red cars in the rain at night"]
    with torch.inference_mode():
        first, second = prompt_masks(studio.checkpoint, captions, 0.3, None)
    monkeypatch.setattr(module, "_ALIKE", 0.0)
    assert f"(IoU {first.iou(second):.2f} or more)" in figures(studio, *captions)[1]
