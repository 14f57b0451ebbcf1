"""The loop over steps. It owns no model: prediction and text encoding come in as functions."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..config import TrainConfig
from ..errors import CNSError
from .batches import TrainingSet
from .diffusion import Diffusion, Start
from .run import TrainingRun
from .snapshot import Snapshot

_REPORT_SECONDS = 0.3  # reading a loss waits for the device: often enough for a progress bar, seldom enough for speed


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """``values`` float32 (mask.count,): ``W_m − W_0``; ``vectors`` (n, f); ``history``: see :class:`.TrainingRun`.
    ``resumed``: the steps of it that an earlier run had done; ``seconds``: of the others.

    ``moved``: for what was held, by which share of their size K and V are from where they were; ``kept_share``: below 1 where
    the change was scaled down for that, see :meth:`KeepTerm.kept_share`. ``prev_weight``: λ_prev where the training found it.
    """

    values: Tensor
    vectors: Tensor
    history: Tensor
    resumed: int
    seconds: float
    moved: dict[str, float]
    kept_share: float
    prev_weight: float | None


class Observer(Protocol):
    kept_steps: frozenset[int]  # after these :meth:`keep` is called

    def after_step(self, step: int, token: Tensor) -> None:
        """Called after every step with the number of steps done and the token's vectors (n, features). By then
        the UNet has the new weights.

        May raise to stop the training.
        """

    def report(self, step: int, rows: list[list[float]]) -> None:
        """Called every 0.3 s with the steps done and the history's row of each step since the last report."""

    def resumed(self, step: int, rows: list[list[float]]) -> None:
        """Called before the first step of a training that goes on, with the steps already done and their losses."""

    def keep(self, result: TrainingResult) -> None:
        """Called after each of ``kept_steps`` with what the training has reached."""

    def stopped(self, snapshot: Callable[[], Snapshot | None]) -> None:
        """Called when the training ends with an error or Cancel. ``snapshot`` gathers its progress, if that is of any use."""


def train_concept(
    model: Diffusion,
    start: Start,
    data: TrainingSet,
    config: TrainConfig,
    observer: Observer,
    snapshot: Snapshot | None = None,
) -> TrainingResult:
    """Trains the weights at ``start.mask`` and the token's vectors with Adam; everything else is frozen (section 4.3).

    ``model.unet`` is unchanged afterwards. ``snapshot``: of the same training, to go on from.

    Raises:
        CNSError: the loss became NaN or infinite, or nothing was trained.
    """
    run = TrainingRun(model, start, data, config)
    if snapshot is not None:
        run.resume(snapshot)
        observer.resumed(run.steps, run.history[: run.steps].tolist())
    started = reported = time.perf_counter()
    resumed = seen = run.steps  # ``seen``: steps reported

    def result() -> TrainingResult:
        return _result(run, start, resumed, time.perf_counter() - started)

    try:
        with run.kv.installed_in(model.unet):
            while run.steps < config.steps:
                run.step()
                observer.after_step(run.steps, run.token.detach())
                if run.steps in observer.kept_steps:
                    observer.keep(result())
                if run.steps == config.steps or time.perf_counter() - reported >= _REPORT_SECONDS:
                    rows = run.history[seen : run.steps].tolist()
                    _check_finite(rows, seen)
                    observer.report(run.steps, rows)
                    reported, seen = time.perf_counter(), run.steps
    except CNSError:
        raise
    except BaseException:  # ComfyUI's interruption is one of these
        observer.stopped(run.snapshot)
        raise
    trained = result()
    _check_trained(trained, run.kv.previous.cpu(), start.vectors, config)
    return trained


@torch.no_grad()
def _result(run: TrainingRun, start: Start, resumed: int, seconds: float) -> TrainingResult:
    kv, keep_term = run.kv, run.keep_term
    share = keep_term.kept_share() if keep_term else 1.0
    moved = keep_term.measure(share).tolist() if keep_term else []
    values = kv.delta if share == 1.0 else torch.lerp(kv.previous, kv.delta, share)
    return TrainingResult(
        values=values.detach().cpu().clone(),
        vectors=run.token.detach().cpu().clone(),
        history=run.history[: run.steps].cpu(),
        resumed=resumed,
        seconds=seconds,
        moved=dict(zip([each.name for each in start.held], moved, strict=True)),
        kept_share=share,
        prev_weight=run.previous_term.prev_weight.item() if run.previous_term.found else None,
    )


_ROW = (*("loss",) * 4, "change of earlier K and V")  # of a training's history


def _check_finite(rows: list[list[float]], first_step: int) -> None:
    for step, row in enumerate(rows, start=first_step):
        if all(map(math.isfinite, row)):
            continue
        what, wrong = next((name, value) for name, value in zip(_ROW, row, strict=True) if not math.isfinite(value))
        raise CNSError(
            f"The {what} became {wrong} at step {step + 1}, so the training was stopped and nothing was changed: "
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
