"""Frozen convolutions keep no input, and change no bit."""

from __future__ import annotations

import pytest
import torch
from cns_pack.cns_core.training.frozen import lean_convolutions
from torch import nn


def network() -> nn.Sequential:
    torch.manual_seed(0)
    parts = [nn.Conv2d(4, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=2), nn.SiLU()]
    return nn.Sequential(*parts, nn.Conv2d(8, 6, 1, bias=False), nn.Conv2d(6, 6, 3, padding=2, dilation=2)).requires_grad_(
        False
    )


def passed(net: nn.Module, image: torch.Tensor) -> tuple[list[torch.Tensor], int]:
    """Result and gradients, and the bytes that were kept in between, the weights not counted."""
    kept, weights = {}, {parameter.data_ptr() for parameter in net.parameters()}

    def pack(tensor):
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    image = image.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = net(image)
    total = sum(kept.values())
    wanted = [image, *(parameter for parameter in net.parameters() if parameter.requires_grad)]
    return [result.detach(), *torch.autograd.grad(result.square().sum(), wanted)], total


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_same_bits_for_less_memory(dtype, layout):
    net = network().to(dtype)
    image = torch.randn(2, 4, 12, 10, generator=torch.Generator().manual_seed(1)).to(dtype).to(memory_format=layout)
    plain, kept = passed(net, image)
    with lean_convolutions(net):
        lean, fewer = passed(net, image)
    assert all(torch.equal(a, b) for a, b in zip(plain, lean, strict=True))
    inputs_of_activations = (8 * 12 * 10 + 8 * 6 * 5) * 2 * dtype.itemsize
    assert fewer == (inputs_of_activations if layout == torch.contiguous_format else kept)
    assert kept > inputs_of_activations
    assert not any("_conv_forward" in vars(module) for module in net)


def test_a_trained_convolution_gets_its_gradient():
    net = network()
    net[2].requires_grad_(True)
    plain, _ = passed(net, torch.ones(1, 4, 8, 8))
    with lean_convolutions(net):
        lean, _ = passed(net, torch.ones(1, 4, 8, 8))
    assert len(lean) == 4
    assert all(torch.equal(a, b) for a, b in zip(plain, lean, strict=True))
