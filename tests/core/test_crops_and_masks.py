"""Crops of photographs and what masks say of them, with numbers a reader can check."""

from __future__ import annotations

import math

import pytest
import torch
from cns_pack.cns_core.crops import Box, cropped, holding, random_boxes
from cns_pack.cns_core.errors import CNSError
from cns_pack.cns_core.image_masks import image_masks, mask_figures
from cns_pack.cns_core.training.batches import TrainingSet, draw_batch
from cns_pack.cns_core.training.objective import concept_loss


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 480), (64, 64), (100, 700)])
def test_boxes_lie_inside_and_reach_both_ends_of_the_long_side(height, width):
    boxes = list(random_boxes(height, width, 1000, True, generator()))
    for box in boxes:
        assert box.top >= 0
        assert box.left >= 0
        assert box.top + box.height <= height
        assert box.left + box.width <= width
        proportions = box.width / box.height
        assert 0.73 < proportions < 1.37
        largest = min(height * height * proportions, width * width / proportions)
        assert 0.68 < box.height * box.width / largest < 1.02
    along = "left" if width > height else "top"
    size = "width" if width > height else "height"
    starts = [getattr(box, along) for box in boxes]
    assert min(starts) == 0
    assert max(getattr(box, along) + getattr(box, size) for box in boxes) == max(height, width)
    assert 400 < sum(box.flipped for box in boxes) < 600
    assert not any(box.flipped for box in random_boxes(height, width, 50, False, generator()))


def test_boxes_depend_on_the_generator_alone():
    first, again, other = (list(random_boxes(90, 120, 6, False, generator(seed))) for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) == 6


def test_a_box_is_cut_out_and_mirrored():
    image = torch.arange(24.0).view(4, 6, 1) / 24
    assert torch.equal(cropped(image, Box(1, 2, 3, 3), 3)[0], image[1:4, 2:5])
    assert torch.equal(cropped(image, Box(1, 2, 3, 3, flipped=True), 3)[0], image[1:4, 2:5].flip(1))
    assert cropped(image, Box(0, 0, 4, 3), 8).shape == (1, 8, 8, 1)


IMAGES = [torch.zeros(4, 8, 3)] * 2


def half(value: float = 1.0) -> torch.Tensor:
    return torch.cat([torch.full((4, 4), value), torch.full((4, 4), 1 - value)], dim=1)


def test_both_polarities():
    white, black = half(), half(0.0)
    for masks, marks in (([white, white], "concept"), ([black, black], "background")):
        assert all(torch.equal(mask, white) for mask in image_masks(masks, IMAGES, marks))


@pytest.mark.parametrize("marks", ["concept", "background"])
def test_an_empty_mask_of_any_size_is_none(marks):
    """ComfyUI's Load Image gives one of 64 x 64 for an image without alpha channel."""
    assert image_masks([torch.zeros(64, 64), half()], IMAGES, marks)[0] is None
    assert image_masks([], IMAGES, marks) == ()


def test_a_mask_of_everything():
    everything = torch.ones(4, 8)
    assert image_masks([everything] * 2, IMAGES, "concept") == (None, None)
    with pytest.raises(CNSError, match="Mask 1 marks all of its image as background"):
        image_masks([everything] * 2, IMAGES, "background")


def test_masks_that_do_not_fit():
    with pytest.raises(CNSError, match="There are 1 masks for 2 images"):
        image_masks([half()], IMAGES, "concept")
    with pytest.raises(CNSError, match="Mask 2 has 5 x 5 pixels, but its image has 8 x 4"):
        image_masks([half(), torch.ones(5, 5)], IMAGES, "concept")
    with pytest.raises(CNSError, match="Mask 1 holds NaN"):
        image_masks([half() * float("nan"), half()], IMAGES, "concept")
    with pytest.raises(CNSError, match="mask_marks is 'dog': choose one of concept, background"):
        image_masks([half(), half()], IMAGES, "dog")


def test_a_mask_of_another_size_is_scaled_and_said_in_words():
    masks = image_masks([half().repeat_interleave(2, 0).repeat_interleave(2, 1), torch.zeros(64, 64)], IMAGES, "concept")
    assert masks[0].shape == (4, 8)
    assert mask_figures(masks) == "according to the masks, the concept is 50% of image 1, all of image 2"
    assert mask_figures((None, None)) == ""


def test_the_loss_counts_by_the_weights():
    """One sample of 1 x 2 places and four channels: errors 1 and 3, weights 1 and 0.5: (1 · 1 + 0.5 · 9) / 1.5."""
    noise = torch.zeros(1, 4, 1, 2)
    predicted = torch.tensor([1.0, 3.0]).expand(1, 4, 1, 2)
    weights = torch.tensor([1.0, 0.5]).view(1, 1, 1, 2)
    weighted = concept_loss(predicted, noise, 1, 1.0, torch.zeros(()), weights)
    assert math.isclose(weighted.instance.item(), 5.5 / 1.5, rel_tol=1e-6)
    prior = torch.cat([predicted, 2 * torch.ones_like(noise)])
    both = concept_loss(prior, torch.zeros_like(prior), 1, 0.5, torch.zeros(()), weights)
    assert math.isclose(both.task.item(), 5.5 / 1.5 + 0.5 * 4, rel_tol=1e-6)


def test_a_small_mask_teaches_as_much_as_a_large_one():
    noise, predicted = torch.zeros(2, 4, 4, 4), torch.ones(2, 4, 4, 4)
    weights = torch.zeros(2, 1, 4, 4)
    weights[0, 0, 0, 0] = 1
    weights[1] = 1
    assert concept_loss(predicted, noise, 2, 1.0, torch.zeros(()), weights).instance.item() == 1


def test_a_batch_brings_the_weights_of_its_own_images():
    latents = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 4, 2, 2)
    weights = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 1, 2, 2)
    data = TrainingSet(latents, [("a",)] * 5, weights=weights)
    schedule = torch.ones(3)  # no noise at all
    batch = draw_batch(data, schedule, 8, False, generator())
    assert torch.equal(batch.noisy[:, :1], batch.weights)
    assert draw_batch(TrainingSet(latents, [("a",)] * 5), schedule, 8, False, generator()).weights is None


@pytest.mark.parametrize("place", [(0, 0), (0, 399), (39, 0), (39, 399), (20, 200)])
def test_a_box_beside_the_mask_moves_onto_it(place):
    mask = torch.zeros(40, 400)
    mask[place] = 0.2
    for box in random_boxes(40, 400, 20, False, generator()):
        moved = holding(box, mask)
        assert mask[moved.top : moved.top + moved.height, moved.left : moved.left + moved.width].any()
        assert (moved.height, moved.width) == (box.height, box.width)
        assert moved.top + moved.height <= 40
        assert moved.left + moved.width <= 400


def test_a_box_on_the_mask_stays():
    mask = torch.zeros(40, 400)
    mask[5, 10] = 1
    assert holding(Box(0, 8, 30, 30, True), mask) == Box(0, 8, 30, 30, True)
