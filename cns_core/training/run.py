"""A training in progress: everything that moves, and one step of it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..config import TrainConfig
from .batches import TrainingSet, draw_batch, stack_contexts
from .diffusion import Diffusion, Start
from .keep_term import KeepTerm
from .objective import concept_loss
from .previous_term import PreviousTerm
from .snapshot import AdamState, Part, ScalerState, Snapshot, gathered, spread
from .trainable_kv import TrainableKV

_FIRST_SCALE = 2.0**12  # torch's 2 ** 16 overflows in the first steps, which are then skipped


class TrainingRun:
    """``steps``: done so far. ``token``: the vectors (n, features). ``history``: float32 (config.steps, 5), see
    :meth:`.objective.Losses.detached`, and the largest share by which K and V of what is held have moved; rows of steps to come
    are 0.
    """

    def __init__(self, model: Diffusion, start: Start, data: TrainingSet, config: TrainConfig) -> None:
        device = model.device
        self.kv = TrainableKV(model.weights, start.mask, start.previous, device)
        self.token = nn.Parameter(start.vectors.detach().clone().float().to(device))
        within = torch.from_numpy(start.regularized.flat()[start.mask.indices.numpy()]).nonzero().squeeze(1).to(device)
        self.keep_term = KeepTerm(self.kv, start.held) if start.held else None
        self.previous_term = PreviousTerm(self.kv, within, config.prev_weight, config.pretrained_weight, config.neuron_lr)
        self.history = torch.zeros(config.steps, 5, device=device)
        self.steps = 0
        self._model, self._data, self._config = model, data, config
        self._alphas_cumprod = model.alphas_cumprod.cpu()
        self._prior_contexts = [context.to(device) for context in data.prior_contexts]
        self._generator = torch.Generator().manual_seed(config.seed)
        self._before_draw = self._generator.get_state()
        self._between_steps = True
        self._optimizer = torch.optim.Adam(
            [{"params": self.kv.parameters, "lr": config.neuron_lr}, {"params": [self.token], "lr": config.token_lr}],
            fused=device.type == "cuda",
        )
        self._scaler = torch.amp.GradScaler(device.type, _FIRST_SCALE, enabled=model.mixed_precision)
        self._parts: dict[str, Part] = {
            "weights": self.kv,
            "adam": AdamState(self._optimizer),
            "scaler": ScalerState(self._scaler),
            "previous_term": self.previous_term,
        }
        if self.keep_term is not None:
            self._parts["keep_term"] = self.keep_term

    def step(self) -> None:
        model, config, token = self._model, self._config, self.token
        batch = draw_batch(self._data, self._alphas_cumprod, config.batch_size, config.prior_weight > 0, self._generator)
        noisy, noise, timesteps = (_sent(values, model.device) for values in (batch.noisy, batch.noise, batch.timesteps))
        contexts = [model.encode_prompts(batch.prompts, token).to(model.device)]  # the text encoder may be elsewhere
        contexts += [self._prior_contexts[self._data.prior_prompts[i]] for i in batch.priors]
        predicted = model.predict_noise(noisy, timesteps, stack_contexts(contexts))
        keeping = self.previous_term()
        if self.keep_term is not None:
            keeping = keeping + self.keep_term()
        weights = None if batch.weights is None else _sent(batch.weights, model.device)
        losses = concept_loss(predicted, noise, len(batch.prompts), config.prior_weight, keeping, weights)
        self.kv.zero_gradient()
        token.grad = None
        self._scaler.scale(losses.total).backward()
        gradient = self.kv.collect_gradient()
        self._between_steps = False
        if self.previous_term.wants_gradients:
            self._scaler.unscale_(self._optimizer)
            self.previous_term.observe(gradient)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.kv.write_weights()
        if self.keep_term is not None:
            self.keep_term.after_step(losses.task)
            self.history[self.steps, 4] = self.keep_term.moved.max()
        self.history[self.steps, :4] = losses.detached()
        self.steps += 1
        self._before_draw = self._generator.get_state()
        self._between_steps = True

    def snapshot(self) -> Snapshot | None:
        """Also works after an error or Cancel in the middle of a step, which then counts as not begun.

        None where there is nothing to go on from: before the first step, or where the error came while the weights moved.
        """
        if not self.steps or not self._between_steps:
            return None
        return Snapshot(self.steps, gathered(self._all_parts()))

    def resume(self, snapshot: Snapshot) -> None:
        """Resumes from there: on a CPU to the same bits as without the interruption."""
        spread(snapshot.tensors, self._all_parts())
        self.steps = snapshot.steps

    def _all_parts(self) -> dict[str, Part]:
        """With itself, which as an attribute would keep all of it on the device until Python looks for cycles."""
        return {**self._parts, "run": self}

    def state_dict(self) -> dict[str, Tensor]:
        return {"token": self.token, "history": self.history[: self.steps], "generator": self._before_draw}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.token.copy_(state["token"])
        self.history[: len(state["history"])] = state["history"].to(self.history.device)
        self._before_draw = state["generator"]
        self._generator.set_state(self._before_draw)


def _sent(values: Tensor, device: torch.device) -> Tensor:
    """A copy on the device. CUDA reads ordinary memory before the call returns, so nobody has to wait for the copy."""
    return values.to(device, non_blocking=device.type == "cuda")
