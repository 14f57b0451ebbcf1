"""States as a sequence of concepts leaves them, without having been trained."""

from __future__ import annotations

import torch

from cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from cns_core.masks import NeuronMask
from cns_core.state import CNSState, LearnedConcept

_PROMPTS = ("photo of a {} dog", "a {} dog on a green field", "a {} dog in front of a wall")


def with_random_concept(state: CNSState, mask: NeuronMask, number: int) -> CNSState:
    """One more concept whose neurons moved by about a thousandth."""
    generator = torch.Generator().manual_seed(number)
    token = f"<new{number}>"
    learned = LearnedConcept(
        token,
        "dog",
        mask,
        torch.randn(1, state.layout.in_features, generator=generator) * 0.02,
        tuple(prompt.format(token) for prompt in _PROMPTS),
    )
    return state.with_concept(learned, torch.randn(mask.count, generator=generator) * 1e-3)


def random_state(checkpoint: Checkpoint, number: int) -> CNSState:
    """One concept on 5 % of the K/V weights, drawn at random."""
    layout = checkpoint.layout
    drawn = torch.rand(layout.size, generator=torch.Generator().manual_seed(number)) < 0.05
    mask = NeuronMask.from_flat(layout, drawn.numpy())
    return with_random_concept(CNSState.empty(layout, checkpoint.fingerprint), mask, number)
