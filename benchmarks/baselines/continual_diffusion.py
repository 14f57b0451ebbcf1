"""Continual Diffusion (Smith et al. 2024): C-LoRA, one LoRA after another, each kept away from weights that earlier ones moved.

The paper leaves the class noun out of its prompts; here it stays, as the prompts of all methods are the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from cns_core.comfy_adapter.checkpoint.tokens import initial_vectors
from cns_core.comfy_adapter.lesson import Lesson
from cns_core.training.previous_term import PreviousTerm

from .low_rank import LowRankKV, random_downs
from .method import PREVIOUS_TERM, TOKEN_START, WEIGHTS, Method

_RANK = 16


class SelfRegularization(PreviousTerm):
    """``λ ‖ |Σ_{t' < t} A_t' B_t'| ⊙ A_t B_t ‖²`` (eq. 4), the first factor divided by its root mean square.

    That makes λ comparable with CNS's λ_prev, and both are found in the same way; the paper's 10⁸ is for SD 1.5's weights.
    """

    def __call__(self) -> Tensor:
        if not len(self._shared):
            return super().__call__()
        earlier = self._kv.previous.square()
        return self.prev_weight * (earlier / earlier.mean() * (self._kv.delta - self._kv.previous).square()).sum()


def orthogonal_start(like: Tensor, earlier: Tensor, seed: int) -> Tensor:
    """Random vectors (n, features) orthogonal to earlier tokens' (m, features), of the lengths of ``like``."""
    drawn = torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))
    basis = torch.linalg.qr(earlier.T).Q
    drawn = drawn - drawn @ basis @ basis.T
    return drawn * like.norm(dim=1, keepdim=True) / drawn.norm(dim=1, keepdim=True)


def _c_lora(lesson: Lesson) -> Mapping[str, object]:
    seed = zlib.crc32(lesson.concept.token.encode())

    def start(*arguments: object) -> Tensor:
        usual = initial_vectors(*arguments)  # pyright: ignore[reportArgumentType] - its own
        known = lesson.previous.tokens.values() if lesson.previous else ()
        return orthogonal_start(usual, torch.cat([usual[:0], *known]), seed)

    kv = partial(LowRankKV, downs=random_downs(_RANK, seed))
    return {WEIGHTS: kv, PREVIOUS_TERM: SelfRegularization, TOKEN_START: start}


CONTINUAL_DIFFUSION = Method("Continual Diffusion", settings={"neuron_lr": 0.003, "prev_weight": None}, parts=_c_lora)
