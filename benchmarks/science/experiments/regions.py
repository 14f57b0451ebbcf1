"""Two things of one class side by side, with a prompt for each half of the picture and without."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from benchmarks.kept import kept
from benchmarks.science.bench import Bench
from benchmarks.science.lab import contexts
from benchmarks.science.paper_protocol import noise_seed
from benchmarks.science.report import save_grid, table_of, write
from benchmarks.science.sequences import Score, Sequence
from benchmarks.science.variants import KEPT
from cns_core.comfy_adapter.regions.apply import apply_regions
from cns_core.comfy_adapter.regions.region import Region
from demo.editor.workflows.regional import SEAM
from demo.judges.recognizer import PRESENT
from demo.judges.trunk import as_input
from demo.model import PIXELS
from demo.world.new_concepts import NEW_CONCEPTS
from demo.world.palette import COLORS
from demo.world.places import PLACES
from demo.world.scene import background_words, with_article

_VARIANT = KEPT["keep_full"]
PAIRS = (("bee", "panda"), ("robot", "guitar"))  # two animals, two toys
PICTURES = 18  # of each pair and seed

Said = dict[str, Tensor]  # text features of a prompt for each picture
Way = Callable[[ModelPatcher, Said], tuple[ModelPatcher, list]]  # the model and the conditioning to draw with


def regions(bench: Bench) -> None:
    """Two taught things of one class in one picture: does each stand in its half, and is it itself."""
    sequences = bench.sequences([_VARIANT], PAIRS)
    figures = {title: bench.measured(sequences, f"regions, {title}", partial(_judged, bench, title)) for title in WAYS}
    table_of(["of pictures, %", *next(iter(figures.values()))], figures)
    drawn = {(names, title): Sequence(_VARIANT, names, bench.seeds[0]) for names in PAIRS for title in WAYS}
    lines = [_pictures(bench, title, sequence)[:8] for (_, title), sequence in drawn.items()]
    save_grid(lines, [f"{title}: {' and '.join(names)}" for names, title in drawn], [""] * 8, "regions")
    write(bench, "regions", {"pairs": PAIRS, "pictures of each seed": PICTURES * len(PAIRS), "ways": figures})


def _pictures(bench: Bench, title: str, sequence: Sequence) -> np.ndarray:
    """The same prompts and noise for every way to draw them; kept in a file."""
    return kept(sequence.folder(bench.lab) / f"{title}.npz", lambda: _drawn(bench, title, sequence))


@torch.inference_mode()
def _drawn(bench: Bench, title: str, sequence: Sequence) -> np.ndarray:
    model, clip = bench.lab.applied(bench.state(sequence))
    first, second = (
        with_article(f"<new{number}> {NEW_CONCEPTS[name].noun}") for number, name in enumerate(sequence.names, start=1)
    )
    texts = {
        "and": f"{first} and {second}",
        "left of": f"{first} left of {second}",
        # The composition of the whole picture in each half: a prompt for one thing would put it into the middle.
        "left": f"{first} left of {first}",
        "right": f"{second} left of {second}",
    }
    where = [background_words(name) for name in [*COLORS, *PLACES][:PICTURES]]
    said = {name: contexts(clip, [f"{text} {place}" for place in where]) for name, text in texts.items()}
    changed, positive = WAYS[title](model, said)
    return bench.lab.drawn(changed, clip, positive, [noise_seed(sequence.seed, number) for number in range(len(where))])


def _with_one_prompt(which: str) -> Way:
    return lambda model, said: (model, [[said[which], {}]])


def _with_regions(model: ModelPatcher, said: Said) -> tuple[ModelPatcher, list]:
    both = tuple(Region.of([[said[side], {}]], None, mask, 1.0) for side, mask in _halves().items())
    return apply_regions(model, both), [[said["and"], {}]]


def _with_masks(model: ModelPatcher, said: Said) -> tuple[ModelPatcher, list]:
    """ComfyUI's Conditioning Set Mask: a pass through the whole UNet for each prompt."""
    return model, [[said[side], {"mask": mask, "mask_strength": 1.0}] for side, mask in _halves().items()]


def _halves() -> dict[str, Tensor]:
    """Masks (1, 128, 128) that add up to one, as in the workflow two_of_a_kind."""
    seam = (0.5 - (torch.arange(PIXELS) + 0.5 - PIXELS / 2) / (SEAM * PIXELS)).clamp(0, 1)
    left = seam.expand(1, PIXELS, PIXELS)
    return {"left": left, "right": 1 - left}


WAYS = {
    "one prompt, A and B": _with_one_prompt("and"),
    "one prompt, A left of B": _with_one_prompt("left of"),
    "A and B, with regions": _with_regions,
    "Conditioning Set Mask": _with_masks,
}


@torch.inference_mode()
def _judged(bench: Bench, title: str, sequence: Sequence) -> Score:
    """Shares of the pictures, by the recognizer's best position of each thing in each half."""
    recognizer = bench.lab.recognizer
    maps = recognizer.things(recognizer.trunk(as_input(_pictures(bench, title, sequence))))
    first, second = (_of_halves(maps[:, PRESENT.index(name)]) for name in sequence.names)
    recognized = (first[0] > 0) & (second[1] > 0) & (first[0] > first[1]) & (second[1] > second[0])
    alike = (first[0] > second[0]) & (second[1] > first[1])
    outcomes = {"each recognized in its half": recognized, "each half more like its own": alike}
    return {name: values.double().mean().item() for name, values in outcomes.items()}


def _of_halves(logits: Tensor) -> tuple[Tensor, Tensor]:
    """(b, rows, columns) to the highest of the left and of the right half, each (b,)."""
    left, right = logits.chunk(2, dim=2)
    return left.amax((1, 2)), right.amax((1, 2))
