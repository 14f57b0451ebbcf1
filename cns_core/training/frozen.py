"""Frozen convolutions: torch keeps their input for the gradient of a weight that has none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn


@contextmanager
def lean_convolutions(unet: nn.Module) -> Iterator[None]:
    """While the context lasts, 2D convolutions of ``unet`` keep nothing for the backward pass but their frozen weights.

    Results and gradients stay what they are, to the bit.
    """
    convolutions = [module for module in unet.modules() if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros"]
    try:
        for module in convolutions:
            module._conv_forward = partial(_convolve, module)
        yield
    finally:
        for module in convolutions:
            module.__dict__.pop("_conv_forward", None)


def _convolve(module: nn.Conv2d, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    trained = weight.requires_grad or (bias is not None and bias.requires_grad)
    if trained or not input.is_contiguous():  # its memory format would choose another backward kernel
        return nn.Conv2d._conv_forward(module, input, weight, bias)
    return _FrozenConvolution.apply(input, weight, bias, module)


class _FrozenConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input: Tensor, weight: Tensor, bias: Tensor | None, module: nn.Conv2d) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.module, ctx.shape = module, input.shape
        return nn.Conv2d._conv_forward(module, input, weight, bias)

    @staticmethod
    def backward(ctx, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,), module = ctx.saved_tensors, ctx.module
        geometry = (module.stride, module.padding, module.dilation, False, (0, 0), module.groups)
        anything = grad_outputs[0].new_empty(1).expand(ctx.shape)  # of the input only the shape is needed
        gradients = torch.ops.aten.convolution_backward(
            grad_outputs[0], anything, weight, None, *geometry, (True, False, False)
        )
        return gradients[0], None, None, None
