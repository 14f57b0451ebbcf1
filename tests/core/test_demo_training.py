"""What the demo model is trained with: Muon's orthogonal steps, and runs that may be stopped anywhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from demo.model import new_vae
from demo.training import trainer
from demo.training.narrow import narrowed
from demo.training.optimizer import MuonWithAdam, only_rows, orthogonalized


@pytest.mark.parametrize("shape", [(3, 24, 64), (2, 64, 24), (1, 32, 32)])
def test_steps_are_nearly_orthogonal(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = torch.linalg.svdvals(orthogonalized(matrices))
    assert found.shape == (shape[0], min(shape[1:]))
    well_conditioned = torch.linalg.svdvals(matrices) > 0.1 * torch.linalg.svdvals(matrices)[:, :1]
    assert found[well_conditioned].min() > 0.6
    assert found.max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    assert functional.cosine_similarity(orthogonalized(matrices).flatten(1), (left @ right).flatten(1)).min() > 0.9


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 32, 3, padding=1), nn.Flatten(), nn.Linear(32 * 16, 16), nn.ReLU(), nn.Linear(16, 16)
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def run(file, steps: int | None = None) -> nn.ModuleList:
    """20 steps, or as many before it is stopped: the network, and the average of its weights since step 5."""
    model = network()
    averaged = AveragedModel(model)

    def loss_of(step: int) -> torch.Tensor:
        if step == steps:
            raise KeyboardInterrupt
        return model(torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(step))).square().mean()

    trainer.optimize(file, model, [1e-2] * 20, loss_of, average=averaged, averaged_from=5)
    return nn.ModuleList([model, averaged.module])


def test_resumed_run_equals_an_unbroken_one(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "_SAVE_SECONDS", -1)  # after every step
    unbroken = run(tmp_path / "unbroken.safetensors")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "resumed.safetensors", 7)
    resumed = run(tmp_path / "resumed.safetensors")
    before = nn.ModuleList([network(), network()]).state_dict()
    for name, value in unbroken.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)
        assert not torch.equal(before[name], value), name


def test_the_learning_rate_rises_and_falls():
    rates = trainer.one_cycle(1_000, peak=2.0)
    assert (len(rates), rates[0], rates[99], rates[199], max(rates)) == (1_000, 0.01, 1.0, 2.0, 2.0)
    assert rates[600] == pytest.approx(1.01)
    assert rates[-1] == pytest.approx(0.02, abs=1e-4)


def test_autoencoder_trains_in_bfloat16():
    vae = narrowed(new_vae())
    vae.taesd_encoder.train().requires_grad_(True)
    picture = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):  # as on every GPU, and on CPUs that compute in it
        vae.taesd_encoder(picture).float().square().mean().backward()
    moved = [value for name, value in vae.taesd_encoder.named_buffers() if name.endswith("mean")]
    assert moved
    assert all(value.dtype == torch.float32 and value.abs().max() > 0 for value in moved)
    assert all(parameter.grad is not None for parameter in vae.taesd_encoder.parameters())


def test_parameters_without_dimensions_are_trained():
    model = nn.ParameterDict({"scale": nn.Parameter(torch.tensor(2.5)), "matrix": nn.Parameter(torch.eye(32))})
    optimizer = MuonWithAdam(model)
    (model["scale"] * model["matrix"].sum()).backward()
    optimizer.step(0.1)
    assert model["scale"].item() == pytest.approx(2.4, abs=1e-3)
    assert not torch.equal(model["matrix"], torch.eye(32))


def test_only_rows_that_captions_have_are_trained():
    table = nn.Embedding(10, 4)
    before, ids = table.weight.detach().clone(), torch.tensor([2, 3, 7])
    with only_rows(table, ids):
        assert torch.equal(table.weight, before[ids])
        table.weight.data += 1
    assert torch.equal(table.weight[ids], before[ids] + 1)
    others = [row for row in range(10) if row not in ids.tolist()]
    assert torch.equal(table.weight[others], before[others])
