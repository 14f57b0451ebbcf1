"""The choices of neurons that compete with the paper's, on matrices small enough to check by hand."""

from __future__ import annotations

import pytest
import torch

from benchmarks.science.selections import Candidates, coverage, every_second_layer
from cns_core.kv_layers import layout_of
from cns_core.masks import NeuronMask

LAYER = "block.attn2.to_k"


def candidates(weight, chosen, general=(), captions=(), others=()) -> Candidates:
    """Of one layer; masks are given as the columns in each row."""
    weights = {LAYER: torch.tensor(weight)}

    def mask(rows) -> NeuronMask:
        selected = torch.zeros(weights[LAYER].shape, dtype=torch.bool)
        for row, columns in enumerate(rows):
            selected[row, list(columns)] = True
        return NeuronMask.from_layers(layout_of(weights), {LAYER: selected})

    return Candidates(
        weights=weights,
        chosen=mask(chosen),
        general=mask(general),
        captions=[torch.tensor(rows) for rows in captions],
        others=[torch.tensor(rows) for rows in others],
        words=[],
        calibration_words=[],
        top_fraction=0.3,
    )


def columns(mask: NeuronMask) -> list[list[int]]:
    return [row.nonzero().squeeze(1).tolist() for row in mask.layer(mask.layout.layers[0])]


PAIR = [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]  # tokens: the first reads the first two columns, the second the last
EVEN = [[1.0, 1.0, 1.0]]  # other prompts use all columns alike, so all cost the same


@pytest.mark.parametrize(
    ("weight", "tokens", "others", "general", "picked"),
    [
        # gains 3, 2.9, 2; after column 0 the first token is covered: 0 is left of 2.9, and 2 of the second token
        pytest.param([-3.0, 2.9, 2.0], PAIR, EVEN, (), [0, 2], id="what is covered counts no more"),
        # gains 2 + 2, 3, 0.9; column 0 covers 2 of 3 that column 1 makes of the first token: the last 1 is more than 0.9
        pytest.param([2.0, 3.0, 0.9], [*PAIR, [1.0, 0.0, 0.0]], EVEN, (), [0, 1], id="what is left of a token counts"),
        # columns 0 and 2 as above; then 0 is left of 2.9, and 1 of the third token
        pytest.param(
            [3.0, 2.9, 2.0, 1.0],
            [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]],
            [[1.0, 1.0, 1.0, 1.0]],
            (),
            [0, 2, 3],
            id="what is covered stays covered",
        ),
        pytest.param([3.0, 2.0, 1.0], [[1.0, 1.0, 1.0]], EVEN, (), [0, 1], id="as many where all is covered"),
        # energies of other prompts (0 + 32) / 2, 1, 1, of which a tenth of the mean is 0.6: costs √16.6 = 4.1, √1.6 = 1.3, 1.3;
        # gains over costs 0.74, 2.3, 1.6
        pytest.param([3.0, 2.9, 2.0], PAIR, [[0.0, 1.0, 1.0], [32**0.5, 1.0, 1.0]], (), [1, 2], id="what others use is dear"),
        # energies (0 + 16) / 2, 4, 4, + 0.53: costs 2.92, 2.13, 2.13, so 1.20, 1.22 and 0.5; by mean magnitudes 2, 2, 2 all
        # would cost the same
        pytest.param([3.5, 2.6, 1.0], PAIR, [[0.0, 2.0, 2.0], [4.0, 2.0, 2.0]], (), [1, 2], id="the energy of other prompts"),
        # energies 4, 0.25, 0.25, + 0.15: costs 2.04, 0.63, 0.63, so 3.4, 3.2 and 1.7; over the energies themselves 1.7, 5, 2.7
        pytest.param([7.0, 2.0, 1.1], PAIR, [[2.0, 0.5, 0.5]], (), [0, 2], id="the root of the risk"),
        # energies 1, 0, 1, + 0.067: costs 1.03, 0.26, 1.03, so 2.9, 0.4, 1.9; without the 0.067 column 1 would be free
        pytest.param([3.0, 0.1, 2.0], PAIR, [[1.0, 0.0, 1.0]], (), [0, 2], id="nothing is free"),
        pytest.param([3.0, 2.9, 2.0], PAIR, EVEN, (0,), [1, 2], id="no general neurons"),
    ],
)
def test_coverage(weight, tokens, others, general, picked):
    """As many as are chosen in each row: in the second one none."""
    rows = [weight, [5.0] * len(weight)]
    found = coverage(candidates(rows, [range(len(picked)), ()], [general], captions=[tokens], others=[others]))
    assert columns(found) == [picked, []]


def test_coverage_counts_a_token_once():
    """Captions share their start of text: in both, it must not count for two. Gains 2 + 2 = 4 of column 0, 3 of column 1."""
    start, word = [2.0, 0.0], [0.0, 3.0]
    found = coverage(candidates([[1.0, 1.0]], [(0,)], captions=[[start, word], [start]], others=[[[1.0, 1.0]]]))
    assert columns(found) == [[1]]


def test_every_second_layer():
    layout = layout_of({name: torch.ones(1, 2) for name in ("a.attn2.to_k", "a.attn2.to_v", "b.attn2.to_k")})
    both = candidates([[1.0, 1.0]], [()])
    found = every_second_layer(Candidates(**{**vars(both), "chosen": NeuronMask.full(layout)}))
    assert [found.layer(layer).sum().item() for layer in layout.layers] == [2, 0, 2]
