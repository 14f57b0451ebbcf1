"""What a training leaves beside its result: the state after chosen steps, and a stopped run that goes on to the same bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import comfy.model_management
import folder_paths
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.keeping import Keeping, parse_steps
from cns_pack.cns_core.comfy_adapter.page.training_progress import TrainingProgress
from cns_pack.cns_core.errors import CNSError
from cns_pack.cns_core.fingerprint import Projections
from cns_pack.cns_core.state_file import load_state
from cns_pack.cns_core.training import run
from cns_pack.cns_core.training.snapshot import ScalerState
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.support.tiny_models import AveragingVAE

STEPS, STOP = 27, 23  # multipliers move after 10 and 20 steps, the paper's weight is known after 20


@pytest.fixture
def autosaves(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    return tmp_path / "cns" / "autosave"


@pytest.fixture
def cancel(monkeypatch):
    """Presses Cancel after a number of steps, once."""
    original = TrainingProgress.after_step
    at: list[int] = []

    def after_step(self, step, token):
        if at == [step]:
            at.clear()
            comfy.model_management.interrupt_current_processing()
        original(self, step, token)

    monkeypatch.setattr(TrainingProgress, "after_step", after_step)
    return at.append


class OtherVAE(AveragingVAE):
    pass


def kept(studio, *lesson, cancelled: bool = True, at: frozenset[int] = frozenset(), **config):
    """Result and lines of a training that keeps what ``cancelled`` and ``at`` say."""
    keeping = Keeping(at, cancelled)
    return studio.teach(*lesson, keeping=keeping, **{"steps": STEPS, **config})[1], keeping.lines


def stopped(studio, *lesson, cancel, at: int = STOP, **config) -> None:
    cancel(at)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        kept(studio, *lesson, **config)


def same_results(ours, theirs) -> bool:
    pairs = [(ours.values, theirs.values), (ours.vectors, theirs.vectors), (ours.history, theirs.history)]
    return all(torch.equal(a, b) for a, b in pairs) and ours.moved == theirs.moved and ours.prev_weight == theirs.prev_weight


@pytest.mark.parametrize(
    "settings", [{"keep_tolerance": 0.05}, {"keep_tolerance": 0.0, "prev_weight": None}], ids=["keep", "paper"]
)
@pytest.mark.parametrize("at", [STOP, 7])
def test_a_stopped_training_goes_on_to_the_same_bits(studio, hat, dog_state, autosaves, cancel, settings, at):
    whole, lines = kept(studio, hat, dog_state, cancelled=False, **settings)
    assert lines == []
    stopped(studio, hat, dog_state, cancel=cancel, at=at, **settings)
    (file,) = autosaves.iterdir()
    assert file.name == "new1-dog+new2-hat.unfinished"
    resumed, lines = kept(studio, hat, dog_state, **settings)
    assert lines == [f"resumed after step {at}, where it had been stopped"]
    assert same_results(resumed, whole)
    assert not list(autosaves.iterdir())


def test_twice_in_float16_with_a_scaler_that_moves(half_studio, dog, autosaves, cancel, monkeypatch):
    """A scale of 2 ** 22 overflows: steps are left out and the scale is halved, on both sides of the interruptions."""
    monkeypatch.setattr(run, "_FIRST_SCALE", 2.0**22)
    whole = kept(half_studio, dog, cancelled=False)[0]
    for at in (2, STOP):
        stopped(half_studio, dog, cancel=cancel, at=at)
    assert same_results(kept(half_studio, dog)[0], whole)


def test_a_scaler_goes_on_from_a_training_without_one():
    """A file in float16 is one checkpoint in whatever precision ComfyUI computes."""
    scaler, none = (ScalerState(torch.amp.GradScaler("cpu", 8.0, enabled=enabled)) for enabled in (True, False))
    scaler.load_state_dict(none.state_dict())
    assert scaler.state_dict()["scale"] == 8


def test_it_may_have_more_steps_than_it_was_to_have(studio, dog, autosaves, cancel):
    whole = kept(studio, dog, cancelled=False)[0]
    stopped(studio, dog, cancel=cancel, at=5, steps=9)
    assert same_results(kept(studio, dog)[0], whole)


def test_an_error_in_the_midst_of_a_step_goes_on_from_the_step_before(studio, dog, autosaves, monkeypatch):
    whole = kept(studio, dog, cancelled=False)[0]
    original, calls = run.concept_loss, []

    def breaks_once(*inputs):
        calls.append(1)
        if len(calls) == 12:  # after the batch of step 12 was drawn
            raise RuntimeError("broken")
        return original(*inputs)

    monkeypatch.setattr(run, "concept_loss", breaks_once)
    with pytest.raises(RuntimeError, match="broken"):
        kept(studio, dog)
    result, lines = kept(studio, dog)
    assert lines == ["resumed after step 11, where it had been stopped"]
    assert same_results(result, whole)


def test_off_by_default(studio, dog, autosaves, cancel):
    stopped(studio, dog, cancel=cancel, cancelled=False)
    assert not autosaves.exists()


def test_what_differs_is_named(studio, dog, hat, dog_state, autosaves, cancel):
    stopped(studio, dog, cancel=cancel, at=3)
    with pytest.raises(CNSError, match=r"stopped after 3 steps differs from this one in neuron_lr \(0.001, now 0.002\)\. Set"):
        kept(studio, dog, neuron_lr=2e-3)
    painted = replace(dog, images=tuple(image * 0.5 for image in dog.images))
    with pytest.raises(CNSError, match=r"differs .* in pictures, seed \(0, now 4\)\. Set them back .* or delete .*new1-dog"):
        kept(studio, painted, seed=4)
    with pytest.raises(CNSError, match="differs from this one in class pictures, class prompts"):
        studio.teach(dog, prior=False, keeping=Keeping(cancelled=True), steps=STEPS)
    with pytest.raises(CNSError, match="differs from this one in checkpoint"):
        studio.teach(dog, keeping=Keeping(cancelled=True), checkpoint=replace(studio.checkpoint, vae=OtherVAE()), steps=STEPS)
    with pytest.raises(CNSError, match="has done 3 steps already: set steps to 3 or more"):
        kept(studio, dog, steps=2)
    stopped(studio, hat, dog_state, cancel=cancel, at=3)
    other = studio.teach(dog, seed=9)[0]
    with pytest.raises(CNSError, match="differs from this one in previous state"):
        kept(studio, hat, other)


def test_what_changes_no_step_is_no_difference(studio, dog, autosaves, cancel, monkeypatch):
    """A card's last digits in the fingerprint, and what a step keeps of its activations."""
    stopped(studio, dog, cancel=cancel, at=3, gradient_checkpointing="off")
    exactly = Projections.of

    def on_a_card(matrices) -> Projections:
        found = exactly(matrices)
        return replace(found, values=tuple(value * (1 + 1e-6) for value in found.values))

    monkeypatch.setattr(Projections, "of", on_a_card)
    lines = kept(studio, dog, checkpoint=replace(studio.checkpoint), gradient_checkpointing="on")[1]
    assert lines == ["resumed after step 3, where it had been stopped"]


def test_a_training_that_is_not_kept_is_not_gathered(studio, dog, autosaves, cancel, monkeypatch):
    """After an error of the card nothing can be read from it any more."""
    monkeypatch.setattr(run.TrainingRun, "snapshot", lambda self: pytest.fail("gathered"))
    stopped(studio, dog, cancel=cancel, cancelled=False)


def test_an_error_while_it_is_gathered_is_not_the_one_that_is_shown(studio, dog, autosaves, monkeypatch):
    def broken(*_):
        raise RuntimeError("the card fell off the bus")

    monkeypatch.setattr(run, "concept_loss", broken)
    monkeypatch.setattr(run.TrainingRun, "snapshot", lambda self: 1 / 0)
    with pytest.raises(RuntimeError, match="the card fell off the bus"):
        kept(studio, dog)


def test_a_damaged_file(studio, dog, autosaves, cancel):
    stopped(studio, dog, cancel=cancel, at=3)
    (file,) = autosaves.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CNSError, match=r"new1-dog\.unfinished cannot be read \(.*\): delete it, and the training starts over"):
        kept(studio, dog)


def test_a_file_of_another_version(studio, dog, autosaves, cancel):
    stopped(studio, dog, cancel=cancel, at=5)
    (file,) = autosaves.iterdir()
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    save_file(load_file(file), file, {**metadata, "format": "cns_training"})
    with pytest.raises(CNSError, match=r"new1-dog\.unfinished was kept by another version of this pack: delete it"):
        kept(studio, dog)


def test_all_that_moves_is_in_the_file(studio, hat, dog_state, autosaves, cancel):
    stopped(studio, hat, dog_state, cancel=cancel, keep_tolerance=0.05)
    (file,) = autosaves.iterdir()
    tensors = load_file(file)
    count = studio.neurons(hat).mask.count
    assert tensors["weights.delta"].shape == tensors["adam.0.exp_avg_sq"].shape == (count,)
    assert int(tensors["adam.1.step"]) == int(tensors["keep_term.steps"]) == len(tensors["run.history"]) == STOP
    assert tensors["keep_term.kappa"].shape == (2,)
    assert float(tensors["keep_term.task_loss"]) > 0.1


def test_the_state_after_chosen_steps_is_that_of_a_shorter_training(studio, dog, autosaves):
    lines = kept(studio, dog, cancelled=False, at=frozenset({4, 9}))[1]
    files = {int(file.name.partition("step")[2].partition("_")[0]): file for file in autosaves.iterdir()}
    assert sorted(files) == [4, 9]
    assert lines == [f"the state after step {step} was saved as `{files[step]}`" for step in (4, 9)]
    for step, file in files.items():
        state, shorter = load_state(file), studio.teach(dog, steps=step)[0]
        assert torch.equal(state.delta.values, shorter.delta.values)
        assert torch.equal(state.concepts[0].vectors, shorter.concepts[0].vectors)


def test_a_kept_step_is_within_the_tolerance_and_disturbs_nothing(studio, hat, dog_state, autosaves):
    settings = {"keep_tolerance": 0.001, "neuron_lr": 1e-2}
    kept(studio, hat, dog_state, cancelled=False, at=frozenset({9}), **settings)
    (file,) = autosaves.iterdir()
    assert load_state(file).concepts[1].figures["off"]["<new1> dog"] < 1.11e-5
    disturbed = kept(studio, hat, dog_state, cancelled=False, at=frozenset({9}), **settings)[0]
    assert same_results(disturbed, kept(studio, hat, dog_state, cancelled=False, **settings)[0])


def test_a_folder_that_cannot_be_written_costs_the_training_nothing(studio, dog, autosaves, cancel):
    autosaves.parent.mkdir(parents=True)
    autosaves.write_text("a file in the folder's place")
    lines = kept(studio, dog, cancelled=False, at=frozenset({2}))[1]
    assert lines[0].startswith("The state after step 2 was not saved: The state could not be written to")
    cancel(3)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        studio.teach(dog, steps=STEPS, keeping=Keeping(cancelled=True))


def test_steps_as_text():
    assert parse_steps("", 500) == frozenset()
    assert parse_steps("100, 300 500", 500) == {100, 300, 500}
    for text in ("0", "501", "ten", "1.5", "-3"):
        with pytest.raises(CNSError, match=rf"keep_steps is '{text}', but it must be numbers from 1 to steps \(500\)"):
            parse_steps(text, 500)


def test_out_of_memory_is_kept_too(studio, dog, autosaves, monkeypatch):
    original = TrainingProgress.after_step

    def no_memory(self, step, token):
        if step == 4:
            raise comfy.model_management.OOM_EXCEPTION("allocation failed")
        original(self, step, token)

    monkeypatch.setattr(TrainingProgress, "after_step", no_memory)
    with pytest.raises(CNSError, match="ran out of memory while teaching <new1>"):
        kept(studio, dog)
    assert [file.name for file in autosaves.iterdir()] == ["new1-dog.unfinished"]
