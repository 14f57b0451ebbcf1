"""The keep term against its definition, written out with loops over prompts and layers."""

from __future__ import annotations

import torch
from cns_pack.cns_core.kv_layers import KVLayout
from cns_pack.cns_core.training.keep_term import KeepTerm, second_moment

LAYOUT = KVLayout.from_shapes({"a": (3, 8), "b": (5, 8)})


def test_second_moment_of_a_worked_example():
    # rows (1, 0), (1, 2), (0, 2), (0, 0): sums of squares 2 and 8, product 2, over 4 rows
    contexts = [torch.tensor([[[1.0, 0.0], [1.0, 2.0]]]), torch.tensor([[0.0, 2.0], [0.0, 0.0]])]
    assert second_moment(contexts).tolist() == [[0.5, 0.5], [0.5, 2.0]]


def test_value_and_gradient_equal_the_definition():
    generator = torch.Generator().manual_seed(0)
    contexts = [torch.randn(7, 8, generator=generator) for _ in range(4)]
    indices = torch.randperm(LAYOUT.size, generator=generator)[:17].sort().values
    previous = torch.randn(17, generator=generator)
    delta = (previous + torch.randn(17, generator=generator)).requires_grad_()
    term = KeepTerm(LAYOUT, indices, previous, 0.3 * second_moment(contexts))
    value = term(delta)
    (gradient,) = torch.autograd.grad(2.0 * value, delta)

    reference = delta.detach().clone().requires_grad_()
    dense = torch.zeros(LAYOUT.size).index_put((indices,), reference - previous)
    total = torch.zeros(())
    for layer in LAYOUT.layers:
        difference = dense[layer.span].view(layer.out_features, 8)
        moved = torch.cat([context @ difference.T for context in contexts])  # change of K or V: (tokens of all prompts, out)
        total = total + 0.3 * moved.square().mean()
    (expected,) = torch.autograd.grad(2.0 * total, reference)
    assert torch.allclose(value, total, rtol=1e-5)
    assert torch.allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_nothing_moved_costs_nothing():
    previous = torch.randn(3)
    term = KeepTerm(LAYOUT, torch.tensor([0, 9, 30]), previous, torch.eye(8))
    assert float(term(previous.clone())) == 0.0
