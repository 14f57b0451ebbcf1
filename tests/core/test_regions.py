"""The arithmetic of regions, with numbers to check by hand."""

from __future__ import annotations

import pytest
import torch
from cns_pack.cns_core.errors import CNSError
from cns_pack.cns_core.regions import at_positions, mask_of_boxes, mixed, weights
from cns_pack.cns_core.training.batches import stack_contexts


def test_masks_are_scaled_by_area():
    mask = torch.zeros(1, 4, 8)
    mask[:, :, 0] = 1.0  # one column of eight
    assert at_positions(mask, 2, 2).tolist() == [[0.25, 0.0, 0.25, 0.0]]
    assert at_positions(mask, 1, 8).tolist() == [[1.0, *[0.0] * 7]]


def test_a_thin_region_survives_the_coarsest_level():
    mask = torch.zeros(1, 512, 768)
    mask[:, 100, :] = 1.0  # one line
    coarse = at_positions(mask, 8, 12).view(8, 12)
    assert coarse[1].tolist() == pytest.approx([1 / 64] * 12)
    assert coarse.sum() == pytest.approx(12 / 64)


def test_a_coarse_mask_is_enlarged():
    mask = torch.tensor([[[0.0, 1.0]]])
    assert at_positions(mask, 2, 4).tolist() == [[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]]


def test_regions_that_overlap_are_averaged():
    """Three positions: the first region's, both regions', nobody's."""
    masks = torch.tensor([[[1.0, 1.0, 0.0]], [[0.0, 1.0, 0.0]]])
    assert weights(masks, [1.0, 1.0]).tolist() == [[[1.0, 0.5, 0.0]], [[0.0, 0.5, 0.0]]]


def test_strength_is_what_is_replaced_of_the_base():
    masks = torch.tensor([[[1.0, 1.0]], [[0.0, 1.0]]])
    shares = weights(masks, [0.5, 1.0])
    assert shares.tolist() == [[[0.5, 0.25]], [[0.0, 0.5]]]
    assert (1 - shares.sum(0)).tolist() == [[0.5, 0.25]]


def test_soft_edges_that_add_up_leave_nothing_of_the_base():
    left = torch.tensor([[1.0, 0.75, 0.25, 0.0]])
    shares = weights(torch.stack([left, 1 - left]), [1.0, 1.0])
    assert torch.equal(shares, torch.stack([left, 1 - left]))
    assert shares.sum(0).tolist() == [[1.0, 1.0, 1.0, 1.0]]


def test_mixing_outputs():
    base, region = torch.tensor([[[10.0], [10.0], [10.0]]]), torch.tensor([[[2.0], [2.0], [2.0]]])
    shares = torch.tensor([[[0.0, 0.25, 1.0]]])
    assert mixed(base, [region], shares).tolist() == [[[10.0], [8.0], [2.0]]]
    assert mixed(base, [region, 3 * region], torch.full((2, 1, 3), 0.5)).tolist() == [[[4.0], [4.0], [4.0]]]


def test_each_picture_of_a_batch_has_its_own_mask():
    base, region = torch.zeros(2, 2, 1), torch.ones(2, 2, 1)
    shares = torch.tensor([[[1.0, 0.0], [0.0, 0.5]]])
    assert mixed(base, [region], shares).tolist() == [[[1.0], [0.0]], [[0.0], [0.5]]]


def test_repeating_whole_contexts_is_all_attention_cannot_see():
    queries, context = torch.tensor([[0.5, -1.0]]), torch.tensor([[[1.0, 0.0], [0.0, 2.0], [-1.0, 1.0]]])

    def attended(context: torch.Tensor) -> torch.Tensor:
        scores = (queries @ context.T).exp()
        return scores / scores.sum() @ context

    longer, other = stack_contexts([context, torch.zeros(1, 2, 2)])
    assert longer.tolist() == [*context[0].tolist()] * 2
    assert other.shape == (6, 2)
    assert torch.allclose(attended(longer), attended(context[0]))
    padded = torch.cat([context[0], torch.zeros(3, 2)])
    assert not torch.allclose(attended(padded), attended(context[0]), atol=0.1)


def test_boxes():
    mask = mask_of_boxes([(1, 0, 2, 1), (-1, 1, 2, 5)], 4, 2)  # the second one reaches over the edges
    assert mask.tolist() == [[[0, 1, 1, 0], [1, 0, 0, 0]]]


@pytest.mark.parametrize("box", [(512, 0, 10, 10), (0, -20, 10, 10), (4, 4, 0, 8), (40, 40, -20, 8)])
def test_a_box_outside_the_canvas_is_refused(box):
    with pytest.raises(CNSError, match="is not on a canvas of 512 x 256: set width and height"):
        mask_of_boxes([box], 512, 256)


def test_no_box_is_refused():
    with pytest.raises(CNSError, match="no bounding box: draw one"):
        mask_of_boxes([], 512, 512)
