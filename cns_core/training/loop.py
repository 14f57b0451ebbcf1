"""The loop over steps. It owns no model: prediction and text encoding come in as functions."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from ..config import TrainConfig
from ..errors import CNSError
from ..masks import NeuronMask
from ..sparse_delta import SparseDelta
from .batches import TrainingSet, draw_batch, stack_contexts
from .keep_term import Held, KeepTerm
from .objective import concept_loss
from .previous_term import PreviousTerm
from .trainable_kv import TrainableKV

PredictNoise = Callable[[Tensor, Tensor, Tensor], Tensor]  # noisy (b, 4, h, w), timesteps (b,), context -> noise
EncodePrompts = Callable[[list[str], Tensor], Tensor]  # prompts, token vectors (n, f) -> context (b, tokens, f)

_FIRST_SCALE = 2.0**12  # torch's 2 ** 16 overflows in the first steps, which are then skipped
_REPORT_SECONDS = 0.3  # reading a loss waits for the device: often enough for a progress bar, seldom enough for speed


class Observer(Protocol):
    def after_step(self, step: int, token: Tensor) -> None:
        """Called after every step with the number of steps done and the token's vectors (n, features). By then
        the UNet has the new weights.

        May raise to stop the training.
        """

    def report(self, step: int, rows: list[list[float]]) -> None:
        """Hears now and then: steps done, and for each step since the last report what :meth:`Losses.detached` gives."""


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """``values`` float32 (mask.count,): ``W_m − W_0``; ``vectors`` (n, f); ``history`` (steps, 4), see :class:`Losses`.

    ``moved``: for what was held, the share of their size by which K and V moved; ``kept_share``: below 1 where the change was
    scaled down for that, see :meth:`KeepTerm.bring_back`. ``prev_weight``: λ_prev where the training found it.
    """

    values: Tensor
    vectors: Tensor
    history: Tensor
    seconds: float
    moved: dict[str, float]
    kept_share: float
    prev_weight: float | None


def train_concept(
    unet: nn.Module,
    weights: Mapping[str, Tensor],
    mask: NeuronMask,
    previous: SparseDelta,
    shared: NeuronMask,
    vectors: Tensor,
    data: TrainingSet,
    alphas_cumprod: Tensor,
    predict_noise: PredictNoise,
    encode_prompts: EncodePrompts,
    config: TrainConfig,
    observer: Observer,
    device: torch.device,
    mixed_precision: bool = False,
    held: Sequence[Held] = (),
) -> TrainingResult:
    """Trains the weights at ``mask`` and the token's ``vectors`` with Adam; everything else is frozen (section 3.3).

    Args:
        unet: module with ``attn2.to_k/to_v`` that ``predict_noise`` runs; unchanged afterwards.
        weights: pretrained K/V weights ``W0`` by name, (out, in) each.
        mask: ``M_m``, the weights to train.
        previous: ``W_{m−1} − W_0``; zero for the first concept.
        shared: ``M_reg``, the part of ``mask`` that earlier concepts trained.
        vectors: the token's initial vectors (n, features).
        data: latents, prompts and class prior images of the concept; see :class:`TrainingSet`.
        alphas_cumprod: the noise schedule ``ᾱ_t`` (timesteps,).
        predict_noise: the UNet's prediction (b, 4, h, w) for noisy latents, timesteps and context, in float32.
        encode_prompts: text conditioning (b, tokens, features) of prompts with the token's vectors in them, differentiable.
        device: where UNet and text encoder are.
        held: prompts whose K and V are held to a tolerance; see :class:`KeepTerm`.
        mixed_precision: the UNet computes in float16, so gradients are scaled against underflow.

    Raises:
        CNSError: the loss became NaN or infinite, or nothing was trained.
    """
    generator, alphas_cumprod = torch.Generator().manual_seed(config.seed), alphas_cumprod.cpu()
    prior_contexts = [context.to(device) for context in data.prior_contexts]
    kv = TrainableKV(weights, mask, previous, device)
    token = nn.Parameter(vectors.detach().clone().float().to(device))
    within = torch.from_numpy(shared.flat()[mask.indices.numpy()]).nonzero().squeeze(1).to(device)
    keep_term = KeepTerm(kv, held) if held else None
    previous_term = PreviousTerm(kv, within, config.prev_weight, config.pretrained_weight, config.neuron_lr)
    optimizer = torch.optim.Adam(
        [{"params": [kv.delta], "lr": config.neuron_lr}, {"params": [token], "lr": config.token_lr}],
        fused=device.type == "cuda",
    )
    scaler = torch.amp.GradScaler(device.type, _FIRST_SCALE, enabled=mixed_precision)
    history = torch.zeros(config.steps, 4, device=device)
    started = reported = time.perf_counter()
    seen = 0  # steps reported
    with kv.installed_in(unet):
        for step in range(config.steps):
            batch = draw_batch(data, alphas_cumprod, config.batch_size, config.prior_weight > 0, generator)
            noisy, noise, timesteps = (_sent(values, device) for values in (batch.noisy, batch.noise, batch.timesteps))
            contexts = [encode_prompts(batch.prompts, token).to(device)]  # the text encoder may be on another device
            contexts += [prior_contexts[data.prior_prompts[i]] for i in batch.priors]
            predicted = predict_noise(noisy, timesteps, stack_contexts(contexts))
            keeping = previous_term()
            if keep_term is not None:
                keeping = keeping + keep_term()
            losses = concept_loss(predicted, noise, len(batch.prompts), config.prior_weight, keeping)
            kv.zero_gradient()
            token.grad = None
            scaler.scale(losses.total).backward()
            gradient = kv.collect_gradient()
            if previous_term.wants_gradients:
                scaler.unscale_(optimizer)
                previous_term.observe(gradient)
            scaler.step(optimizer)
            scaler.update()
            kv.write_weights()
            if keep_term is not None:
                keep_term.after_step(losses.task)
            history[step] = losses.detached()
            observer.after_step(step + 1, token.detach())
            last = step + 1 == config.steps
            if last or time.perf_counter() - reported >= _REPORT_SECONDS:
                rows = history[seen : step + 1].tolist()
                _check_finite(rows, seen)
                observer.report(step + 1, rows)
                reported, seen = time.perf_counter(), step + 1
    kept_share = keep_term.bring_back() if keep_term else 1.0
    result = TrainingResult(
        values=kv.delta.detach().cpu(),
        vectors=token.detach().cpu(),
        history=history.cpu(),
        seconds=time.perf_counter() - started,
        moved=dict(zip([each.name for each in held], keep_term.moved.tolist(), strict=True)) if keep_term else {},
        kept_share=kept_share,
        prev_weight=previous_term.prev_weight.item() if previous_term.found else None,
    )
    _check_trained(result, kv.previous.cpu(), vectors, config)
    return result


def _sent(values: Tensor, device: torch.device) -> Tensor:
    """A copy on the device. CUDA reads ordinary memory before the call returns, so nobody has to wait for the copy."""
    return values.to(device, non_blocking=device.type == "cuda")


def _check_finite(rows: list[list[float]], first_step: int) -> None:
    for step, losses in enumerate(rows, start=first_step):
        if all(map(math.isfinite, losses)):
            continue
        raise CNSError(
            f"The loss became {losses[-1]} at step {step + 1}, so the training was stopped and nothing was changed: "
            "lower neuron_lr and token_lr, and check the images."
        )


def _check_trained(result: TrainingResult, previous: Tensor, vectors: Tensor, config: TrainConfig) -> None:
    if not bool(torch.isfinite(result.values).all() and torch.isfinite(result.vectors).all()):
        raise CNSError("The trained weights hold NaN or infinity, so they were thrown away: lower neuron_lr and token_lr.")
    still = config.neuron_lr > 0 and torch.equal(result.values, previous)
    if still or (config.token_lr > 0 and torch.equal(result.vectors, vectors.cpu().float())):
        raise CNSError(
            f"The training did not move the {'neurons' if still else 'token'}: in every step the gradients were zero, or too "
            "large for 16 bits. Take more steps; if that does not help, see whether the checkpoint draws ordinary prompts well."
        )
