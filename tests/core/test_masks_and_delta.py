from __future__ import annotations

import numpy as np
import pytest
import torch
from cns_pack.cns_core.errors import CNSError
from cns_pack.cns_core.kv_layers import KVLayout, find_kv_modules
from cns_pack.cns_core.masks import NeuronMask
from cns_pack.cns_core.selection import STRATEGIES, select, union
from cns_pack.cns_core.sparse_delta import SparseDelta

LAYOUT = KVLayout.from_shapes({"a": (2, 3), "b": (1, 5)})  # 11 weights: not a whole number of bytes


def mask_of(*positions: int) -> NeuronMask:
    flat = np.zeros(LAYOUT.size, dtype=bool)
    flat[list(positions)] = True
    return NeuronMask.from_flat(LAYOUT, flat)


def test_set_algebra():
    a, b = mask_of(0, 3, 10), mask_of(3, 5)
    assert (a & b).indices.tolist() == [3]
    assert (a | b).indices.tolist() == [0, 3, 5, 10]
    assert a.without(b).indices.tolist() == [0, 10]
    assert a.count == 3
    assert a.iou(b) == pytest.approx(1 / 4)
    assert NeuronMask.full(LAYOUT).count == 11
    assert NeuronMask.full(LAYOUT).without(a).count == 8
    assert union([a, b]).equals(a | b)


def test_layer_views():
    mask = mask_of(1, 5, 7)
    assert mask.layer(LAYOUT.layers[0]).int().tolist() == [[0, 1, 0], [0, 0, 1]]
    assert mask.layer(LAYOUT.layers[1]).int().tolist() == [[0, 1, 0, 0, 0]]
    assert mask.layer_counts() == {"a": 2, "b": 1}
    back = NeuronMask.from_layers(LAYOUT, {layer.name: mask.layer(layer) for layer in LAYOUT.layers})
    assert back.equals(mask)


def test_masks_of_other_models_do_not_mix():
    other = NeuronMask.full(KVLayout.from_shapes({"a": (2, 3)}))
    with pytest.raises(CNSError, match="different model architectures"):
        mask_of(1) & other


def test_delta_update_keeps_what_is_outside_the_mask():
    first = SparseDelta.zero(LAYOUT).updated(mask_of(1, 7), torch.tensor([0.5, -1.0]))
    second = first.updated(mask_of(7, 9), torch.tensor([2.0, 3.0]))
    assert first.values.tolist() == [0.5, -1.0]  # a value: not changed by what came after
    assert second.mask.indices.tolist() == [1, 7, 9]
    assert second.values.tolist() == [0.5, 2.0, 3.0]
    assert second.at(mask_of(0, 9)).tolist() == [0.0, 3.0]
    per_layer = [(layer.name, positions.tolist(), values.tolist()) for layer, positions, values in second.layers()]
    assert per_layer == [("a", [1], [0.5]), ("b", [1, 3], [2.0, 3.0])]


def test_strategies():
    base, general = mask_of(0, 1, 5, 6, 7), mask_of(1, 6, 8)
    generator = torch.Generator().manual_seed(0)
    assert select("concept", base, general, generator).indices.tolist() == [0, 5, 7]
    assert select("base", base, general, generator).equals(base)
    assert select("all K/V", base, general, generator).count == LAYOUT.size
    random = select("random", base, general, generator)
    for layer in LAYOUT.layers:
        concept_rows = select("concept", base, general, generator).layer(layer).sum(dim=1)
        assert torch.equal(random.layer(layer).sum(dim=1), concept_rows)
    draws = {tuple(STRATEGIES["random"](base, general, generator).indices.tolist()) for _ in range(20)}
    assert len(draws) > 1


def test_random_strategy_is_seeded():
    base, general = mask_of(0, 1, 5, 6, 7), mask_of(1)
    draws = [select("random", base, general, torch.Generator().manual_seed(5)) for _ in range(2)]
    assert draws[0].equals(draws[1])


def test_no_neurons_left_says_so():
    with pytest.raises(CNSError, match="all 2 base neurons are general"):
        select("concept", mask_of(0, 1), mask_of(0, 1, 2), torch.Generator())


def test_kv_modules_are_found_in_any_unet():
    class Attention(torch.nn.Module):
        def __init__(self, width):
            super().__init__()
            self.to_q, self.to_k, self.to_v = (torch.nn.Linear(width, 4, bias=False) for _ in range(3))

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.attn1, self.attn2 = Attention(4), Attention(8)

    unet = torch.nn.Sequential(Block(), Block())
    assert list(find_kv_modules(unet)) == ["0.attn2.to_k", "0.attn2.to_v", "1.attn2.to_k", "1.attn2.to_v"]
    with pytest.raises(CNSError, match="Linear has no cross-attention"):
        find_kv_modules(torch.nn.Linear(2, 2))
    unet[0].attn2 = Attention(16)
    with pytest.raises(CNSError, match=r"\[8, 16\]"):
        find_kv_modules(unet)
