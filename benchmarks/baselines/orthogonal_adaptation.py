"""Orthogonal Adaptation (Po et al. 2024): concepts that are trained apart and added, in subspaces that hardly meet."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from cns_core.comfy_adapter.lesson import Lesson
from cns_core.kv_layers import KVLayer

from .low_rank import Downs, LowRankKV
from .method import WEIGHTS, Method

_RANK = 16


def orthogonal_downs(rank: int, token: str) -> Downs:
    """``rank`` rows of one random orthogonal matrix that all concepts share, drawn from the token: nobody needs to know of
    other concepts (randomized orthogonal basis). Two concepts of rank r have r² / in of them in common on average.
    """

    def draw(layer: KVLayer) -> Tensor:
        shared = torch.randn(layer.in_features, layer.in_features, generator=torch.Generator().manual_seed(0))
        generator = torch.Generator().manual_seed(zlib.crc32(token.encode()))
        return torch.linalg.qr(shared).Q[torch.randperm(layer.in_features, generator=generator)[:rank]].clone()

    return draw


def _frozen_downs(lesson: Lesson) -> Mapping[str, object]:
    return {WEIGHTS: partial(LowRankKV, downs=orthogonal_downs(_RANK, lesson.concept.token), train_downs=False)}


def total(pretrained: Tensor, tuned: list[Tensor], features: list[Tensor], ordinary: Tensor) -> Tensor:
    """``W0 + Σ_i (W_i − W0)``."""
    return pretrained + torch.stack([weight - pretrained for weight in tuned]).sum(0)


ORTHOGONAL_ADAPTATION = Method("Orthogonal Adaptation", settings={"neuron_lr": 0.003}, parts=_frozen_downs, fuse=total)
