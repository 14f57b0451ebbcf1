"""A full-size SD 1.5 with random weights, pictures, neurons and states, and clocks: what every benchmark here starts from."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import comfy.sd
import comfy.utils
import torch
from torch.nn.functional import interpolate

from cns_core.calibration import shipped_prompts
from cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from cns_core.comfy_adapter.lesson import Lesson
from cns_core.comfy_adapter.neurons import compute_neurons, select_neurons
from cns_core.comfy_adapter.prior import Prior
from cns_core.concept import Concept
from cns_core.config import SelectionConfig
from cns_core.masks import NeuronMask
from cns_core.state import CNSState, LearnedConcept
from demo.training.random_checkpoint import NAME, make

CAPTIONS = ("a dog on a green field", "a dog in front of a wall", "a small dog", "a dog by a lake", "a dog at night")
_PROMPTS = ("photo of a {} dog", "a {} dog on a green field", "a {} dog in front of a wall")


def open_checkpoint(base: Path, **options: object) -> Checkpoint:
    """``options``: ComfyUI's for loading a model, such as its ``dtype``."""
    path = make(base / "models" / "checkpoints" / NAME)
    comfy.utils.set_progress_bar_enabled(False)
    with torch.inference_mode():
        return Checkpoint(*comfy.sd.load_checkpoint_guess_config(str(path), model_options=options)[:3])


def lesson(checkpoint: Checkpoint, pixels: int, strategy: str = "concept") -> Lesson:
    """A dog with its neurons and prior images."""
    taught, share = concept(pixels), SelectionConfig.top_fraction
    base = compute_neurons(checkpoint, list(taught.descriptions), share, "base", None)
    general = compute_neurons(checkpoint, shipped_prompts()[:4], share, "general", None)
    return Lesson(taught, select_neurons(base, general, strategy, 0), prior(pixels))


def pictures(count: int, pixels: int, seed: int) -> tuple[torch.Tensor, ...]:
    """Soft random pictures, float32 (pixels, pixels, 3) in 0..1."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    smooth = interpolate(coarse, size=(pixels, pixels), mode="bicubic", align_corners=False).clamp(0, 1)
    return tuple(smooth.movedim(1, -1))


def concept(pixels: int) -> Concept:
    return Concept("<next>", "dog", pictures(len(CAPTIONS), pixels, 1), CAPTIONS)


def prior(pixels: int) -> Prior:
    return Prior(pictures(8, pixels, 2), ("photo of a dog",) * 8)


def with_random_concept(state: CNSState, mask: NeuronMask, number: int) -> CNSState:
    """As a training leaves a state: one more concept, whose neurons moved by about a thousandth."""
    generator, token = torch.Generator().manual_seed(number), f"<new{number}>"
    vectors = torch.randn(1, state.layout.in_features, generator=generator) * 0.02
    learned = LearnedConcept(token, "dog", mask, vectors, tuple(prompt.format(token) for prompt in _PROMPTS))
    return state.with_concept(learned, torch.randn(mask.count, generator=generator) * 1e-3)


def random_state(checkpoint: Checkpoint, number: int) -> CNSState:
    """One concept on 5 % of the K/V weights, drawn at random."""
    layout = checkpoint.layout
    drawn = torch.rand(layout.size, generator=torch.Generator().manual_seed(number)) < 0.05
    mask = NeuronMask.from_flat(layout, drawn.numpy())
    return with_random_concept(CNSState.empty(layout, checkpoint.fingerprint), mask, number)


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """Mean duration of ``repeats`` calls."""
    synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    synchronize()
    return (time.perf_counter() - started) / repeats


def set_up_and_step(train: Callable[[int], object], steps: int) -> tuple[float, float]:
    """Seconds of setting a training up, and of each step then: by a training of one step and one of so many more."""
    one, more = seconds(lambda: train(1)), seconds(lambda: train(1 + steps))
    step = (more - one) / steps
    return one - step, step


def costs(train: Callable[[int], object], steps: int) -> dict[str, float]:
    """``first``: seconds of the first training, of two steps, compiling included; ``step``: of each step after that; ``all``:
    of a training with its set-up, loading apart; ``memory``: bytes.
    """
    first = seconds(lambda: train(2))
    set_up, step = set_up_and_step(train, steps)
    return {"first": first, "step": step, "all": set_up + steps * step, "memory": peak_memory()}


def peak_memory() -> int:
    """Bytes: the device's highest allocation, or the process's highest resident memory where there is no GPU."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak_resident_memory()


def peak_resident_memory() -> int:
    """Bytes of RAM, whatever a GPU holds."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
