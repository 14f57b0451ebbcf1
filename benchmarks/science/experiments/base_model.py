"""How good the demo model is before anything is taught."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from bench import Bench
from judges import image_text, recognizer
from judges.recognizer import shows
from lab import Lab
from paper_protocol import Test, noise_seed, ordinary_tests
from report import mean_sd, save_grid, table, write
from safetensors import safe_open

PROMPTS = 300  # with combinations of thing, colour and background the training never had


def base(bench: Bench) -> None:
    """Share of pictures with all things, colours, background and style asked for, by number of things; and a contact sheet."""
    lab, rows, figures = bench.lab, [], {}
    for things in (1, 2, 3):
        tests = ordinary_tests(PROMPTS, 7, things=things)
        plain = np.array([not test.scene.style for test in tests])
        right = np.array([_right(lab, tests, seed) for seed in bench.seeds])
        figures[str(things)] = {"all": right.mean(1).tolist(), "without style": right[:, plain].mean(1).tolist()}
        rows.append([things, *map(mean_sd, figures[str(things)].values())])
    table(["things", "things, colours, background and style right, %", "of prompts without a style, %"], rows)
    judges = {file.stem: _held_out(file) for file in (recognizer.FILE, image_text.FILE)}
    table(["judge", "right on held-out renders", "%"], [[j, *cell] for j, cells in judges.items() for cell in _percent(cells)])
    write(bench, "base", {"held-out prompts": PROMPTS, "share right": figures, "judges": judges})
    _sheet(bench, [test for things in (1, 2, 3) for test in ordinary_tests(8, 11, things=things)])


def _right(lab: Lab, tests: list[Test], seed: int) -> list[bool]:
    """For each test, whether its picture shows all that."""
    pictures = lab.pictures([test.prompt for test in tests], [noise_seed(seed, number) for number in range(len(tests))])
    recognition = lab.recognizer.recognize(pictures)
    return [shows(recognition[number : number + 1], test.scene)[1].item() for number, test in enumerate(tests)]


def _held_out(file: Path) -> dict[str, float]:
    """The accuracies that were measured when a judge was trained."""
    with safe_open(file, "pt") as judge:
        return json.loads(judge.metadata()["about"])


def _percent(accuracies: dict[str, float]) -> list[list[str]]:
    return [[name, f"{100 * value:.1f}"] for name, value in accuracies.items()]


def _sheet(bench: Bench, tests: list[Test]) -> None:
    pictures = bench.lab.pictures([test.prompt for test in tests for _ in range(4)], list(range(4 * len(tests))))
    save_grid(pictures.reshape(len(tests), 4, *pictures.shape[1:]), [test.prompt for test in tests], [""] * 4, "base")
