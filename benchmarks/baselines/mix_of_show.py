"""Mix-of-Show (Gu et al. 2023): a LoRA and a richer token for each concept, then gradient fusion."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from cns_core.comfy_adapter.lesson import Lesson

from .low_rank import LowRankKV, random_downs
from .method import WEIGHTS, Method

_RANK, _ITERATIONS = 4, 50


def _ed_lora(lesson: Lesson) -> Mapping[str, object]:
    """ED-LoRA with a token of two vectors. In the paper each of the 16 cross-attention layers has its own two; a prompt is
    encoded once here, so all layers read the same. Its LoRAs on other layers and on the text encoder are left out.
    """
    return {WEIGHTS: partial(LowRankKV, downs=random_downs(_RANK, zlib.crc32(lesson.concept.token.encode())))}


def gradient_fusion(pretrained: Tensor, tuned: list[Tensor], features: list[Tensor], ordinary: Tensor) -> Tensor:
    """``argmin_W Σ_i ‖(W − W_i) X_iᵀ‖²`` (section 3.3), by L-BFGS from W0 as the authors do it."""
    with torch.inference_mode(False), torch.enable_grad():
        inputs = torch.cat(features).clone()
        outputs = torch.cat([rows @ weight.T for rows, weight in zip(features, tuned, strict=True)]).clone()
        fused = pretrained.detach().clone().requires_grad_()
        precise = {"tolerance_grad": 1e-16, "tolerance_change": 1e-16}
        optimizer = torch.optim.LBFGS([fused], max_iter=_ITERATIONS, history_size=25, line_search_fn="strong_wolfe", **precise)

        def loss() -> Tensor:
            optimizer.zero_grad()
            error = functional.mse_loss(inputs @ fused.T, outputs)
            error.backward()
            return error

        optimizer.step(loss)
        return fused.detach()


MIX_OF_SHOW = Method("Mix-of-Show", settings={"neuron_lr": 0.003, "vectors": 2}, parts=_ed_lora, fuse=gradient_fusion)
