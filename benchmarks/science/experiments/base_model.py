"""How good the demo model is before anything is taught, and after the tour's two concepts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open

from benchmarks.science.bench import Bench
from benchmarks.science.paper_protocol import Test, ordinary_tests
from benchmarks.science.report import collected, save_grid, table, table_of, write
from benchmarks.science.sequences import Score, Sequence, pictures_of
from benchmarks.science.variants import TOUR
from cns_core.state import CNSState
from demo.editor.workflows.on_the_demo_model import CONCEPTS
from demo.judges import image_text, recognizer
from demo.judges.recognizer import shows

_SHOWN = 8  # prompts of each number of things on the contact sheet
PROMPTS = 300  # with combinations of thing, colour and background the training never had
_HEAD = ("things", "things, colours, background and style right, %", "of prompts without a style, %")


def base(bench: Bench) -> None:
    """Share of pictures with all things, colours, background and style asked for, by number of things; what the tour's two
    concepts change of it, on the same noise; and a contact sheet.
    """
    figures = {str(things): _right(bench, ordinary_tests(PROMPTS, 7, things=things), things) for things in (1, 2, 3)}
    table_of([*_HEAD, f"lost by teaching {' and '.join(CONCEPTS)}, % points"], figures)
    accuracies = {file.stem: _held_out(file) for file in (recognizer.FILE, image_text.FILE)}
    cells = [(judge, what, f"{100 * share:.1f}") for judge, shares in accuracies.items() for what, share in shares.items()]
    table(["judge", "right on held-out renders", "%"], cells)
    write(bench, "base", {"held-out prompts": PROMPTS, "share right": figures, "judge accuracies": accuracies})
    _sheet(bench, [test for things in (1, 2, 3) for test in ordinary_tests(_SHOWN, 11, things=things)])


def _right(bench: Bench, tests: list[Test], things: int) -> dict[str, list[float]]:
    """For each seed, shares of the pictures that show all that is asked for, and what of it teaching loses."""
    lab, plain, what = bench.lab, np.array([not test.scene.style for test in tests]), f"ordinary {things} {len(tests)}"

    def shares(state: CNSState | None, seed: int, folder: Path) -> Score:
        seen = lab.recognizer.recognize(pictures_of(lab, state, tests, 1, seed, folder / f"{what} {seed}.npz"))
        right = np.array([shows(seen[number : number + 1], test.scene)[1].item() for number, test in enumerate(tests)])
        return {"all": float(right.mean()), "without style": float(right[plain].mean())}

    def taught(sequence: Sequence) -> Score:
        return shares(bench.state(sequence), sequence.seed, sequence.folder(lab))

    untaught = lab.scores("untaught")
    before = collected(untaught.of(f"{seed} {what}", lambda s=seed: shares(None, s, lab.folder)) for seed in bench.seeds)
    after = bench.measured(bench.sequences([TOUR], [CONCEPTS]), what, taught)
    return before | {"lost": np.subtract(before["all"], after["all"]).tolist()}


def _held_out(file: Path) -> dict[str, float]:
    """The accuracies that were measured when a judge was trained."""
    with safe_open(file, "pt") as judge:
        return json.loads(judge.metadata()["about"])


def _sheet(bench: Bench, tests: list[Test]) -> None:
    pictures = bench.lab.pictures([test.prompt for test in tests for _ in range(4)], list(range(4 * len(tests))))
    save_grid(pictures.reshape(len(tests), 4, *pictures.shape[1:]), [test.prompt for test in tests], [""] * 4, "base")
