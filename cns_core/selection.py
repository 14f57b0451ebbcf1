"""Which neurons a concept trains: the paper's choice (section 4.2) and its ablations (section 5.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch

from .errors import CNSError
from .masks import NeuronMask

Strategy = Callable[[NeuronMask, NeuronMask, torch.Generator], NeuronMask]


def concept_neurons(base: NeuronMask, general: NeuronMask, generator: torch.Generator) -> NeuronMask:
    """``M_m = base ∧ ¬general`` (Eq. 6)."""
    return base.without(general)


def random_neurons(base: NeuronMask, general: NeuronMask, generator: torch.Generator) -> NeuronMask:
    """As many neurons in each row as the concept has there, drawn uniformly (the paper's control)."""
    chosen = concept_neurons(base, general, generator)
    flat = np.zeros(chosen.layout.size, dtype=bool)
    for layer in chosen.layout.layers:
        per_row = chosen.layer(layer).sum(dim=1, keepdim=True)
        order = torch.rand(layer.out_features, layer.in_features, generator=generator).argsort(dim=1).argsort(dim=1)
        flat[layer.span] = (order < per_row).numpy().ravel()
    return NeuronMask.from_flat(chosen.layout, flat)


def base_neurons(base: NeuronMask, general: NeuronMask, generator: torch.Generator) -> NeuronMask:
    """All base neurons, general ones included."""
    return base


def all_neurons(base: NeuronMask, general: NeuronMask, generator: torch.Generator) -> NeuronMask:
    """Every K/V weight, as Custom Diffusion trains."""
    return NeuronMask.full(base.layout)


STRATEGIES: dict[str, Strategy] = {
    "concept": concept_neurons,
    "random": random_neurons,
    "base": base_neurons,
    "all K/V": all_neurons,
}


def select(strategy: str, base: NeuronMask, general: NeuronMask, generator: torch.Generator) -> NeuronMask:
    """Applies a named strategy.

    Raises:
        CNSError: unknown name, or no neuron is left.
    """
    if strategy not in STRATEGIES:
        raise CNSError(f"There is no selection strategy '{strategy}': choose one of {', '.join(STRATEGIES)}.")
    mask = STRATEGIES[strategy](base, general, generator)
    if base.count == 0:
        raise CNSError(
            "No weight matters for all captions: write captions that have more in common, or raise top_percent in both nodes."
        )
    if mask.count == 0:
        raise CNSError(
            f"No neurons are left: all {base.count:,} base neurons are general neurons too. "
            "Name the thing in every caption, raise count in Compute General Neurons, or use top_percent 30 in both nodes."
        )
    return mask


def union(masks: Iterable[NeuronMask]) -> NeuronMask | None:
    """Logical OR; None for no masks."""
    result: NeuronMask | None = None
    for mask in masks:
        result = mask if result is None else result | mask
    return result
