"""On a graphics card: weights come back to the bit, and a training step never waits for the card."""

from __future__ import annotations

import comfy.model_management as memory
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.apply.apply import apply_state
from cns_pack.cns_core.comfy_adapter.apply.in_place import StatePatcher
from cns_pack.cns_core.comfy_adapter.checkpoint.checkpoint import weight_key
from cns_pack.cns_core.comfy_adapter.page.training_progress import TrainingProgress
from cns_pack.cns_core.training import run

from tests.comfy.conftest import Studio
from tests.support.loading import load, same
from tests.support.tiny_models import tiny_clip, tiny_model

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", params=[torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def half(request) -> Studio:
    return Studio(tiny_model(dtype=request.param), tiny_clip())


@pytest.fixture(scope="module")
def states(half, dog, hat):
    first = half.teach(dog, steps=12)[0]
    return first, half.teach(hat, previous=first, steps=12, keep_tolerance=5.0)[0]


def on_card(studio: Studio) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in studio.model.model.diffusion_model.state_dict().items()}


def test_in_place_to_the_bit(half, states):
    load([half.model])
    before, base = on_card(half), half.model.model
    pointers = {name: weight.data_ptr() for name, weight in base.state_dict().items()}
    with torch.inference_mode():
        models = [apply_state(half.checkpoint, state, 1.0)[0] for state in states]
    assert all(isinstance(model, StatePatcher) for model in models)
    for model, state in zip([*models, models[0]], [*states, states[0]], strict=True):
        load([model])
        for layer, positions, values in state.delta.layers():
            weight, plain = base.get_parameter(weight_key(layer.name)), before[f"{layer.name}.weight"].float().cpu()
            plain.view(-1)[positions] += values
            assert weight.device.type == memory.get_torch_device().type
            assert torch.equal(weight.cpu(), plain.to(weight.dtype))
        assert {name: weight.data_ptr() for name, weight in base.state_dict().items()} == pointers
    load([half.model])
    assert same(on_card(half), before)


def test_training_leaves_the_model_as_it_was(half, states, dog):
    load([half.model])
    before = on_card(half)
    state, result = half.teach(dog, steps=5)
    assert bool(torch.isfinite(result.history).all())
    assert (state.delta.values != 0).float().mean() > 0.5
    assert same(on_card(half), before)


def test_cancel(half, dog, monkeypatch):
    load([half.model])
    before, after_step = on_card(half), TrainingProgress.after_step

    def cancelled(self, step, token):
        if step == 3:
            memory.interrupt_current_processing()
        after_step(self, step, token)

    monkeypatch.setattr(TrainingProgress, "after_step", cancelled)
    with pytest.raises(memory.InterruptProcessingException):
        half.teach(dog, steps=50)
    assert same(on_card(half), before)


def test_a_step_never_waits_for_the_card(half, states, hat, monkeypatch):
    step, done = run.TrainingRun.step, []

    def watched(self):
        if self.steps:  # the first one allocates and warms up
            torch.cuda.set_sync_debug_mode("error")
        try:
            step(self)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        done.append(self.steps)

    monkeypatch.setattr(run.TrainingRun, "step", watched)
    half.teach(hat, previous=states[0], steps=25, keep_tolerance=5.0)
    assert done == list(range(1, 26))
