"""The K/V weights while they are trained: one flat float32 vector the UNet's projections are views of.

The UNet's own ``to_k`` and ``to_v`` modules are set aside and come back untouched, even after an error. Gradients arrive in
one flat vector too; only its entries at the mask are read, so optimizer state exists only for the selected weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..kv_layers import find_kv_modules, layout_of
from ..masks import NeuronMask
from ..sparse_delta import SparseDelta


class KVProjection(nn.Module):
    """A bias-free linear layer on a float32 weight (out, in), computed in the precision of its input."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, context: Tensor) -> Tensor:
        return functional.linear(context, self.weight.to(context.dtype))


class TrainableKV:
    """``W0 + previous`` for all K/V weights, of which ``mask`` may move.

    ``delta``: Parameter float32 (mask.count,), ``W − W0`` at the mask; ``previous`` the same before this training;
    ``indices``: the mask's positions in the flat vector, int64 (mask.count,). After ``loss.backward()`` call
    :meth:`collect_gradient`, after the optimizer step :meth:`write_weights`.
    """

    def __init__(self, weights: Mapping[str, Tensor], mask: NeuronMask, previous: SparseDelta, device: torch.device) -> None:
        layout = layout_of(weights)
        layout.check_same(mask.layout, "The neuron mask")
        layout.check_same(previous.mask.layout, "The previous state")
        self.layout = layout
        self._flat = torch.cat([weight.detach().float().reshape(-1).to(device) for weight in weights.values()])
        self.indices = mask.indices.to(device)
        self._pretrained = self._flat[self.indices]
        self._flat[previous.mask.indices.to(device)] += previous.values.to(device)
        self._gradient = torch.zeros_like(self._flat)
        self.previous = previous.at(mask).to(device)
        self.delta = nn.Parameter(self.previous.clone())
        self.projections = {layer.name: self._projection(layer.span, layer.out_features) for layer in layout.layers}
        self.write_weights()

    def _projection(self, span: slice, rows: int) -> KVProjection:
        parameter = nn.Parameter(self._flat[span].view(rows, -1))
        parameter.grad = self._gradient[span].view(rows, -1)
        return KVProjection(parameter)

    @property
    def parameters(self) -> list[Tensor]:
        """What the optimizer moves."""
        return [self.delta]

    def zero_gradient(self) -> None:
        self._gradient.zero_()
        self.delta.grad = None

    def collect_gradient(self) -> Tensor:
        """Adds the UNet's gradient at the mask to ``delta.grad``, and returns that."""
        gradient = self._gradient.index_select(0, self.indices)
        self.delta.grad = gradient if self.delta.grad is None else self.delta.grad.add_(gradient)
        return self.delta.grad

    @torch.no_grad()
    def write_weights(self) -> None:
        """Moves the weights at the mask to ``W0 + delta``."""
        self._flat.index_copy_(0, self.indices, self._pretrained + self.delta)

    def state_dict(self) -> dict[str, Tensor]:
        return {"delta": self.delta}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.delta.copy_(state["delta"])
        self.write_weights()

    @contextmanager
    def installed_in(self, unet: nn.Module) -> Iterator[None]:
        """Puts the projections in the places of the UNet's own modules; those come back on leaving."""
        originals = find_kv_modules(unet)
        try:
            for name, projection in self.projections.items():
                _set_module(unet, name, projection)
            yield
        finally:
            for name, module in originals.items():
                _set_module(unet, name, module)


def _set_module(root: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(root.get_submodule(parent), child, module)
