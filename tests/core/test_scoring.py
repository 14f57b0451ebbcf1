"""Masks against an independent brute force, in plain Python, and a hand-worked example."""

from __future__ import annotations

import math

import pytest
import torch
from cns_pack.cns_core.errors import CNSError
from cns_pack.cns_core.scoring import common_mask, feature_norms, prompt_mask, row_top_mask, selected_per_row

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def brute_force(weight: torch.Tensor, context: torch.Tensor, fraction: float) -> list[list[bool]]:
    """Per row, sort columns by descending score, then by ascending column; keep the first ``round(fraction · in)``."""
    columns = weight.shape[1]
    norms = [torch.tensor([math.fsum(float(c) ** 2 for c in context[:, j])]).sqrt().item() for j in range(columns)]
    mask = []
    for row in weight.float().tolist():
        scores = [torch.tensor(abs(w)).mul(torch.tensor(n)).item() for w, n in zip(row, norms, strict=True)]
        order = sorted(range(columns), key=lambda j: (-scores[j], j))[: round(fraction * columns)]
        mask.append([j in order for j in range(columns)])
    return mask


def test_worked_example():
    # norms: sqrt(3² + 4²) = 5, sqrt(0 + 1) = 1, sqrt(2² + 0) = 2, 0
    context = torch.tensor([[3.0, 0.0, 2.0, 0.0], [4.0, 1.0, 0.0, 0.0]])
    assert feature_norms(context).tolist() == [5.0, 1.0, 2.0, 0.0]
    # row 1: scores 5, 6, 2, 0 -> columns 1 and 0; row 2: 0, 1, 4, 0 -> 2 and 1; row 3: all tied at 0 -> 0 and 1
    weight = torch.tensor([[1.0, -6.0, 1.0, 9.0], [0.0, 1.0, -2.0, 9.0], [0.0, 0.0, 0.0, 7.0]])
    mask = prompt_mask({"attn2.to_k": weight}, context, 0.5)
    assert mask.layer(mask.layout.layers[0]).int().tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 0, 0]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("levels", [3, None], ids=["many ties", "distinct"])
def test_masks_equal_brute_force(dtype, levels):
    generator = torch.Generator().manual_seed(1)
    for case in range(5):
        weight, context = torch.randn(9, 40, generator=generator), torch.randn(7, 40, generator=generator)
        if levels:
            weight, context = (weight * levels).round(), context.round().clamp(-1, 1)
        weight = weight.to(dtype)
        mask = prompt_mask({"k": weight}, context, 0.3)
        expected = brute_force(weight, context, 0.3)
        assert mask.layer(mask.layout.layers[0]).tolist() == expected, case


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_masks_on_gpu_equal_cpu(dtype):
    generator = torch.Generator().manual_seed(2)
    weight = (torch.randn(320, 768, generator=generator) * 8).round().div(8).to(dtype)
    context = torch.randn(77, 768, generator=generator)
    norms = feature_norms(context)  # one norm for both: summation order may differ between devices
    rows = {d: row_top_mask(weight.to(d).float().abs() * norms.to(d), 230).cpu() for d in ("cpu", "cuda")}
    assert torch.equal(rows["cpu"], rows["cuda"])


def test_number_selected_is_exact_in_every_row():
    assert selected_per_row(768, 0.30) == 230
    scores = torch.zeros(4, 768)
    scores[1] = 1.0
    scores[2, 700:] = 1.0
    mask = row_top_mask(scores, 230)
    assert mask.sum(dim=1).tolist() == [230] * 4
    assert mask[0, :230].all()
    assert mask[2, 700:].all()
    assert mask[2, : 230 - 68].all()


def test_mask_depends_on_the_prompt():
    """The score compares inputs of one output; along the other axis the norm would cancel out."""
    generator = torch.Generator().manual_seed(3)
    weight = {"k": torch.randn(16, 64, generator=generator)}
    first, second = (prompt_mask(weight, torch.randn(7, 64, generator=generator), 0.3) for _ in range(2))
    assert not first.equals(second)


def test_common_mask_is_the_and_of_all_prompts():
    generator = torch.Generator().manual_seed(4)
    weights = {"a": torch.randn(8, 32, generator=generator), "b": torch.randn(6, 32, generator=generator)}
    contexts = [torch.randn(7, 32, generator=generator) for _ in range(3)]
    done = []
    common = common_mask(weights, contexts, 0.5, lambda: done.append(1))
    each = [prompt_mask(weights, context, 0.5) for context in contexts]
    assert (common.flat() == (each[0].flat() & each[1].flat() & each[2].flat())).all()
    assert len(done) == len(weights)


def test_wrong_width_names_both_numbers():
    with pytest.raises(CNSError, match=r"width 1024.*reads 768"):
        common_mask({"k": torch.randn(2, 768)}, [torch.randn(77, 1024)], 0.3)


def test_a_share_that_selects_nothing_is_refused():
    with pytest.raises(CNSError, match=r"top_percent 0\.1 selects none of a row's 96 weights"):
        prompt_mask({"k": torch.randn(4, 96)}, torch.randn(77, 96), 0.001)


def test_nan_conditioning_is_refused():
    with pytest.raises(CNSError, match="text encoder returned NaN or infinity for a prompt"):
        feature_norms(torch.full((2, 4), float("nan")))
