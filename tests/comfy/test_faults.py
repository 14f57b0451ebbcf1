"""Faults at many moments of scoring, teaching and applying; the checkpoint and the next result are then as without them."""

from __future__ import annotations

import gc
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import comfy.model_management as memory
import pytest
import torch
from cns_pack.cns_core.comfy_adapter import teach as teaching
from cns_pack.cns_core.comfy_adapter.apply.apply import apply_state
from cns_pack.cns_core.comfy_adapter.page.training_progress import Display
from cns_pack.cns_core.errors import CNSError
from cns_pack.cns_core.training import loop

from tests.support.aftermath import Snapshot, same_state
from tests.support.injection import Operations, Stages, spread
from tests.support.loading import load, same
from tests.support.tiny_models import AveragingVAE

MOMENTS, ALL_MOMENTS = 3, 10  # of each stage, in the suite and where the table is written
STAGES = {
    "score": "scoring",
    "teach": "setting up",
    "encode_images": "encoding pictures",
    "features": "encoding prompts",
    "train_concept": "a training step",
    "draw": "a preview",
    "apply_and_load": "applying",
}


class DrawingVAE(AveragingVAE):
    """Gives previews as well."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(latents[:, :3], scale_factor=8).movedim(1, -1)


@dataclass(frozen=True)
class Fault:
    """``action`` happens before an operation; without one the operation gives NaN. ``ends``: the errors that may follow."""

    name: str
    action: Callable[[], None] | None
    ends: tuple[type[BaseException], ...]
    lasting: bool = False
    stages: tuple[str, ...] = tuple(STAGES.values())


def out_of_memory() -> None:
    raise torch.OutOfMemoryError("out of memory, injected")


def ctrl_c() -> None:
    raise KeyboardInterrupt


FULL = (CNSError, torch.OutOfMemoryError)
FAULTS = [
    Fault("Out of memory, once", out_of_memory, FULL),
    Fault("Out of memory, from then on", out_of_memory, FULL, lasting=True),
    Fault("Cancel", memory.interrupt_current_processing, (memory.InterruptProcessingException,)),
    Fault("Ctrl+C", ctrl_c, (KeyboardInterrupt,)),
    Fault("A result turns into NaN", None, (CNSError,), stages=("encoding pictures", "encoding prompts", "a training step")),
]


@dataclass(frozen=True)
class Jobs:
    """What users run, each from its own inputs. ``training``: those of one step, as :func:`teach` hands them over."""

    studio: object
    dog: object
    neurons: object
    state: object = None
    training: tuple = ()

    def score(self):
        return self.studio.neurons(self.dog).mask.bits.tobytes()

    def teach(self, **settings):
        return self.studio.teach(self.dog, neurons=self.neurons, display=Display(preview_every=2), steps=2, **settings)[0]

    def step(self):
        """A training of one step without a preview, and without what comes before it."""
        with torch.inference_mode():
            result = teaching._train(*self.training)
        return {"values": result.values, "vectors": result.vectors}

    def apply_and_load(self):
        """The weights with the state applied; the plain model is loaded afterwards, as by the next generation without it."""
        load([self.studio.model])
        with torch.inference_mode():
            model, _ = apply_state(self.studio.checkpoint, self.state, 1.0)
        load([model])
        applied = self.studio.weights()
        load([self.studio.model])
        return applied


@pytest.fixture(scope="module", autouse=True)
def _same_operations_in_every_run():
    """Losses are read now and then by the clock otherwise, and operations after that would have other numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_REPORT_SECONDS", math.inf)
        yield


@pytest.fixture(scope="module")
def jobs(studio, dog) -> Jobs:
    drawing = type(studio)(studio.model, studio.clip, DrawingVAE())
    jobs = Jobs(drawing, dog, drawing.neurons(dog))
    return replace(jobs, state=jobs.teach(), training=inputs_of_a_step(jobs))


def inputs_of_a_step(jobs: Jobs) -> tuple:
    seen, train = [], teaching._train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teaching, "_train", lambda *inputs: seen.append(inputs) or train(*inputs))
        jobs.studio.teach(jobs.dog, neurons=jobs.neurons, steps=1)
    return seen[0]


@pytest.fixture(scope="module")
def undisturbed(jobs) -> dict[str, object]:
    return {name: getattr(jobs, name)() for name in ("score", "teach", "step", "apply_and_load")}


@pytest.fixture(scope="module")
def moments(jobs, undisturbed) -> dict[str, list[tuple[str, int]]]:
    """For each stage the operations in it, as a job's name and a number."""
    found: dict[str, list[tuple[str, int]]] = {}
    for name in ("score", "teach", "apply_and_load"):
        with Stages(STAGES) as stages:
            getattr(jobs, name)()
        for number, stage in enumerate(stages.seen):
            found.setdefault(stage, []).append((name, number))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "stage"), [pytest.param(fault, stage, id=f"{fault.name}, {stage}") for fault in FAULTS for stage in fault.stages]
)
def test_nothing_is_left_behind(jobs, undisturbed, moments, reliability, request, fault, stage):
    before, ends, left = Snapshot(jobs.studio), Counter(), Counter()
    chosen = spread(moments[stage], ALL_MOMENTS if request.config.getoption("--write-reliability") else MOMENTS)
    for job, number in chosen:
        ends[ended(fault, jobs, undisturbed, job, number)] += 1
        gc.collect()
        left.update(before.changes())
    job = chosen[0][0]
    if not equal(getattr(jobs, job)(), undisturbed[job]):
        left["another result of the next run"] += 1
    reliability.add(fault.name, stage, ends, left)
    assert not left
    assert not ends["ended wrongly"]


@pytest.mark.slow
def test_out_of_memory_at_each_operation_of_a_step(jobs, undisturbed, reliability, request):
    """At some in the suite, at all where the table is written."""
    with Operations() as operations:
        jobs.step()
    moments = list(range(operations.done))
    chosen = moments if request.config.getoption("--write-reliability") else spread(moments, ALL_MOMENTS)
    before, ends, left = Snapshot(jobs.studio), Counter(), Counter()
    for number in chosen:
        ends[ended(FAULTS[0], jobs, undisturbed, "step", number)] += 1
        left.update(before.changes())
    if not equal(jobs.step(), undisturbed["step"]):
        left["another result of the next run"] += 1
    reliability.add(FAULTS[0].name, "each operation of one training step", ends, left)
    assert not left
    assert ends == {"stopped": len(chosen)}


def ended(fault: Fault, jobs: Jobs, undisturbed: dict[str, object], job: str, number: int) -> str:
    """Runs the job with the fault at an operation; how it ended."""
    try:
        with Operations(number, fault.action, fault.lasting) as operations:
            result = getattr(jobs, job)()
    except fault.ends:
        return "stopped"
    finally:
        memory.interrupt_current_processing(False)  # as ComfyUI does before each prompt
    assert operations.done > number  # else nothing was injected
    # NaN may change what is learned, as any number may; nothing else.
    learned = fault.action is None and job == "teach"
    unharmed = bool(torch.isfinite(result.delta.values).all()) if learned else equal(result, undisturbed[job])
    return "went on" if unharmed else "ended wrongly"


def equal(a, b) -> bool:
    if isinstance(a, dict):
        return same(a, b)
    return a == b if isinstance(a, bytes) else same_state(a, b)
