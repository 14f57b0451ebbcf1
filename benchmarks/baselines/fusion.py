"""One state of concepts that were taught each on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from comfy.sd import CLIP
from torch import Tensor

from cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from cns_core.comfy_adapter.checkpoint.conditioning import encode_all, row_kinds
from cns_core.comfy_adapter.checkpoint.tokens import with_tokens
from cns_core.concept import literal
from cns_core.masks import NeuronMask
from cns_core.sparse_delta import SparseDelta
from cns_core.state import CNSState, LearnedConcept
from cns_core.training.keep_term import Row

from .method import Fuse


@torch.inference_mode()
def fused(checkpoint: Checkpoint, states: Sequence[CNSState], fuse: Fuse, ordinary: Sequence[str]) -> CNSState:
    """``states``: of one concept each; ``ordinary``: prompts without concepts."""
    concepts = tuple(concept for state in states for concept in state.concepts)
    clip = with_tokens(checkpoint.clip, {concept.token: concept.vectors for concept in concepts})
    features = [concept_features(clip, concept) for concept in concepts]
    others, layout = torch.cat([word_features(clip, prompt) for prompt in ordinary]), checkpoint.layout
    deltas, merged = [state.delta.flat() for state in states], []
    for layer, weight in zip(layout.layers, checkpoint.weights.values(), strict=True):
        pretrained = weight.float().cpu()
        tuned = [pretrained + delta[layer.span].view_as(pretrained) for delta in deltas]
        merged.append((fuse(pretrained, tuned, features, others) - pretrained).flatten())
    delta = SparseDelta(NeuronMask.full(layout), torch.cat(merged))
    return CNSState(layout, checkpoint.fingerprint, delta, tuple(replace(concept, before=None) for concept in concepts))


def concept_features(clip: CLIP, concept: LearnedConcept) -> Tensor:
    """Of the concept's own words and the end of the text, alone and in a sentence: (rows, features). As Custom Diffusion and
    Mix-of-Show take them.
    """
    name = literal(concept.name)
    return torch.cat([word_features(clip, prompt, Row.OWN) for prompt in (name, f"a photo of a {name}")])


def word_features(clip: CLIP, prompt: str, first: Row = Row.WORD) -> Tensor:
    """Rows (n, features) from the first of a kind up to the end of the text."""
    kinds = row_kinds(clip, prompt)
    start, end = (int((kinds == kind).nonzero()[0]) for kind in (first, Row.PADDING))
    return encode_all(clip, [prompt])[0][start : end + 1]
