"""How good the demo model is before anything is taught, and after the tour's two concepts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open

from benchmarks.science.bench import Bench
from benchmarks.science.lab import Lab
from benchmarks.science.paper_protocol import Test, ordinary_tests
from benchmarks.science.report import save_grid, table, table_of, write
from benchmarks.science.sequences import Sequence, load_states, pictures_of
from benchmarks.science.variants import TOUR
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
    lab, sequences = bench.lab, [Sequence(TOUR, CONCEPTS, seed, scored=False) for seed in bench.seeds]
    bench.teach([TOUR], (CONCEPTS,))
    figures = {}
    for things in (1, 2, 3):
        tests = ordinary_tests(PROMPTS, 7, things=things)
        plain = np.array([not test.scene.style for test in tests])
        before, after = (
            np.array([_right(lab, tests, sequence, things, taught) for sequence in sequences]) for taught in (False, True)
        )
        right = {"all": before.mean(1), "without style": before[:, plain].mean(1), "lost": before.mean(1) - after.mean(1)}
        figures[str(things)] = {name: values.tolist() for name, values in right.items()}
    table_of([*_HEAD, f"lost by teaching {' and '.join(CONCEPTS)}, % points"], figures)
    accuracies = {file.stem: _held_out(file) for file in (recognizer.FILE, image_text.FILE)}
    cells = [(judge, what, f"{100 * share:.1f}") for judge, shares in accuracies.items() for what, share in shares.items()]
    table(["judge", "right on held-out renders", "%"], cells)
    write(bench, "base", {"held-out prompts": PROMPTS, "share right": figures, "judge accuracies": accuracies})
    _sheet(bench, [test for things in (1, 2, 3) for test in ordinary_tests(_SHOWN, 11, things=things)])


def _right(lab: Lab, tests: list[Test], sequence: Sequence, things: int, taught: bool) -> list[bool]:
    """For each test, whether its picture shows all that; the pictures are kept."""
    state = load_states(lab, sequence)[-1] if taught else None
    folder = sequence.folder(lab) if taught else lab.folder
    file = folder / f"ordinary {things} {len(tests)} {sequence.seed}.npz"
    recognition = lab.recognizer.recognize(pictures_of(lab, state, tests, 1, sequence.seed, file))
    return [shows(recognition[number : number + 1], test.scene)[1].item() for number, test in enumerate(tests)]


def _held_out(file: Path) -> dict[str, float]:
    """The accuracies that were measured when a judge was trained."""
    with safe_open(file, "pt") as judge:
        return json.loads(judge.metadata()["about"])


def _sheet(bench: Bench, tests: list[Test]) -> None:
    pictures = bench.lab.pictures([test.prompt for test in tests for _ in range(4)], list(range(4 * len(tests))))
    save_grid(pictures.reshape(len(tests), 4, *pictures.shape[1:]), [test.prompt for test in tests], [""] * 4, "base")
