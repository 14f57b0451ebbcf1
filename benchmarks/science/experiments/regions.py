"""Two things of one class side by side, with a prompt for each half of the picture and without."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP

from benchmarks.science.bench import Bench
from benchmarks.science.lab import Lab, contexts, kept
from benchmarks.science.paper_protocol import noise_seed
from benchmarks.science.report import mean_sd, save_grid, table, write
from benchmarks.science.sequences import Sequence, load_states
from benchmarks.science.variants import TOUR
from cns_core.comfy_adapter.regions.apply import apply_regions
from cns_core.comfy_adapter.regions.region import Region
from demo.judges.pixels import as_input
from demo.judges.recognizer import PRESENT
from demo.world.new_concepts import NEW_CONCEPTS
from demo.world.palette import COLORS
from demo.world.places import PLACES
from demo.world.scene import background_words, with_article

PAIRS = (("robot", "guitar"), ("bee", "panda"))  # two toys, two animals
PICTURES = 54  # of each pair and seed
_BATCH = 27
_SEAM = 3 / 16  # of the width, over which one half fades into the other, as in the workflow two_of_a_kind

Prompts = list[list[str]]  # of both, of the left and of the right half: one for each picture
Draw = Callable[[Lab, ModelPatcher, CLIP, Prompts, list[int]], np.ndarray]


def regions(bench: Bench) -> None:
    """Two taught things of one class in one picture: does each stand in its half, and is it itself."""
    bench.each({"tour": TOUR}, PAIRS)
    rows, figures, lines = [], {}, {}
    for title in WAYS:
        found: dict[str, list[float]] = {name: [] for name in _OUTCOMES}
        for seed in bench.seeds:
            drawn = {names: _pictures(bench, names, seed, title) for names in PAIRS}
            judged = np.concatenate([_judged(bench.lab, pictures, names) for names, pictures in drawn.items()])
            for name, values in zip(_OUTCOMES, judged.T, strict=True):
                found[name].append(float(values.mean()))
            for names in PAIRS if seed == bench.seeds[0] else ():
                lines[names, title] = drawn[names][:8]
        figures[title] = found
        rows.append([title, *map(mean_sd, found.values())])
    table(["of pictures, %", *_OUTCOMES], rows)
    order = [(names, title) for names in PAIRS for title in WAYS]
    labels = [f"{title}: {' left of '.join(names)}" for names, title in order]
    save_grid([lines[key] for key in order], labels, [""] * 8, "regions")
    write(bench, "regions", {"pairs": PAIRS, "pictures of each seed": PICTURES * len(PAIRS), "ways": figures})


def _pictures(bench: Bench, names: tuple[str, str], seed: int, title: str) -> np.ndarray:
    """The same prompts and noise for every way to draw them; kept in a file."""
    sequence = Sequence(TOUR, names, seed)
    return kept(sequence.folder(bench.lab) / f"{title}.npz", lambda: _drawn(bench, sequence, WAYS[title]))


def _drawn(bench: Bench, sequence: Sequence, draw: Draw) -> np.ndarray:
    with torch.inference_mode():
        model, clip = bench.lab.applied(load_states(bench.lab, sequence)[-1])
    behind, nouns = [*COLORS, *PLACES], [NEW_CONCEPTS[name].noun for name in sequence.names]
    things = [with_article(f"<new{number}> {noun}") for number, noun in enumerate(nouns, start=1)]
    done = []
    for start in range(0, PICTURES, _BATCH):
        numbers = range(start, min(start + _BATCH, PICTURES))
        where = [background_words(behind[number % len(behind)]) for number in numbers]
        prompts = [[f"{text} {place}" for place in where] for text in (" left of ".join(things), *things)]
        done.append(draw(bench.lab, model, clip, prompts, [noise_seed(sequence.seed, number) for number in numbers]))
    return np.concatenate(done)


@torch.inference_mode()
def _without(lab: Lab, model: ModelPatcher, clip: CLIP, prompts: Prompts, seeds: list[int]) -> np.ndarray:
    return lab.drawn(model, clip, [[contexts(clip, prompts[0]), {}]], seeds)


@torch.inference_mode()
def _with_regions(lab: Lab, model: ModelPatcher, clip: CLIP, prompts: Prompts, seeds: list[int]) -> np.ndarray:
    whole, left, right = ([[contexts(clip, texts), {}]] for texts in prompts)
    both = tuple(Region.of(text, None, mask, 1.0) for text, mask in zip((left, right), _halves(), strict=True))
    return lab.drawn(apply_regions(model, both), clip, whole, seeds)


@torch.inference_mode()
def _with_masks(lab: Lab, model: ModelPatcher, clip: CLIP, prompts: Prompts, seeds: list[int]) -> np.ndarray:
    """ComfyUI's Conditioning Set Mask: a pass through the whole UNet for each prompt."""
    texts = (contexts(clip, prompts) for prompts in prompts[1:])
    masked = [[text, {"mask": mask, "mask_strength": 1.0}] for text, mask in zip(texts, _halves(), strict=True)]
    return lab.drawn(model, clip, masked, seeds)


WAYS: dict[str, Draw] = {"one prompt": _without, "regions": _with_regions, "Conditioning Set Mask": _with_masks}


def _halves(width: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks (1, width, width) that add up to one."""
    seam = (0.5 - (torch.arange(width) + 0.5 - width / 2) / (_SEAM * width)).clamp(0, 1)
    left = seam.expand(1, width, width)
    return left, 1 - left


_OUTCOMES = ("each in its half", "both, anywhere", "the first one only", "the second one only", "neither")


@torch.inference_mode()
def _judged(lab: Lab, pictures: np.ndarray, names: tuple[str, str]) -> np.ndarray:
    """Bool (pictures, outcomes). A thing stands where the recognizer's best position of it is."""
    maps = lab.recognizer.things(lab.recognizer.trunk(as_input(pictures)))
    first, second = (maps[:, PRESENT.index(name)] for name in names)
    there = [(of.amax((1, 2)) > 0).numpy() for of in (first, second)]
    column = [(of.amax(1).argmax(1) < of.shape[2] // 2).numpy() for of in (first, second)]
    both = there[0] & there[1]
    right = both & column[0] & ~column[1]
    return np.stack([right, both, there[0] & ~there[1], there[1] & ~there[0], ~there[0] & ~there[1]], axis=1)
