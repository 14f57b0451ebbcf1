"""The page's scripts that need no editor, run by Deno."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.support.noun_cases import CASES

WEB = Path(__file__).parents[2] / "web"
DENO = shutil.which("deno", path=sysconfig.get_path("scripts"))
PLURALS = [("two dogs", "dog", True), ("foxes", "fox", True), ("a dogsled", "dog", False), ("two hot-dogs", "dog", False)]


def evaluate(script: str, expression: str, data: object) -> object:
    """``expression`` of what the script exports and of ``data``."""
    exports, data = json.dumps((WEB / script).as_uri()), json.dumps(data)
    code = f"const exports = await import({exports}), data = {data}; console.log(JSON.stringify({expression}));"
    quiet = {**os.environ, "DENO_NO_UPDATE_CHECK": "1"}
    return json.loads(subprocess.run([DENO, "eval", code], capture_output=True, text=True, check=True, env=quiet).stdout)


def test_page_and_python_find_the_same_nouns():
    """The page takes plurals too: two <new1> dogs are beside their noun."""
    cases = CASES + PLURALS
    found = evaluate("words.js", "data.map(([text, noun]) => exports.hasNoun(exports.wordsOf(text), noun))", cases)
    assert found == [expected for *_, expected in cases]


def message(first: int, rows: list[int], samples: tuple[int, ...] = (), progress: str = "running") -> dict:
    """As the server sends it: one number stands for a step's losses, and for a sample."""
    losses, pictures = [[row, 0, 0, 0] for row in rows], [{"step": step, "prompt": "", "picture": ""} for step in samples]
    told = {"number": 1, "steps": 9, "first": first, "rows": losses, "samples": pictures}
    return {**told, "seconds": first + len(rows), "progress": progress}


def put_together(*messages: dict) -> dict | None:
    reduced = "data.reduce((known, message) => exports.extended(known ?? undefined, message) ?? null, undefined)"
    training = evaluate("training.js", reduced, messages)
    if training:
        training["rows"] = [row for row, *_ in training["rows"]]
        training["samples"] = [sample["step"] for sample in training["samples"]]
    return training


WHOLE = {"rows": [1, 2, 3, 4], "samples": [2, 4], "seconds": 4, "progress": "done"}


@pytest.mark.parametrize(
    "messages",
    [
        [message(0, []), message(0, [1, 2], (2,)), message(2, [3, 4], (4,)), message(4, [], (), "done")],
        [message(0, [1, 2, 3, 4], (2, 4), "done"), message(1, [2, 3], (2,))],
        [message(0, [1, 2, 3], (4,)), message(1, [2, 3, 4], (2,), "done"), message(4, [])],
    ],
    ids=["in order", "a late one", "overlapping, samples out of order"],
)
def test_messages_make_one_training(messages):
    training = put_together(*messages)
    assert {name: training[name] for name in WHOLE} == WHOLE


def test_missing_rows_are_noticed():
    assert put_together(message(1, [2])) is None
    assert put_together(message(0, [1]), message(2, [3])) is None


def test_curves_have_a_point_for_each_step():
    """Instance and prior share a scale, whose top is the highest loss; the regularization has its own."""
    rows = [[1.0, 0.5, 0.0, 0], [0.5, 0.25, 0.001, 0], [0.25, 0.0, 0.002, 0]]
    both = evaluate("curves.js", "exports.curvesOf(data, 4)", rows)
    instance, prior, regularization = both["curves"]
    assert both["top"] == instance["top"] == prior["top"] == 1.0
    assert instance["raw"] == "0.25,0 0.5,0.5 0.75,0.75"
    assert prior["raw"] == "0.25,0.5 0.5,0.75 0.75,1"
    assert regularization["raw"] == "0.25,1 0.5,0.5 0.75,0"
    assert (regularization["top"], regularization["last"], regularization["ownScale"]) == (0.002, 0.002, True)


def test_what_has_moved_stands_in_place_of_what_holds_it():
    curves = evaluate("curves.js", "exports.curvesOf(data, 4)", [[1, 0, 0.1, 0], [1, 0, 0.2, 0.04]])["curves"]
    assert [curve["name"] for curve in curves] == ["instance", "moved"]
    assert (curves[1]["raw"], curves[1]["top"], curves[1]["ownScale"]) == ("0.25,1 0.5,0", 0.04, True)


def test_losses_of_nothing_have_no_curve():
    assert evaluate("curves.js", "exports.curvesOf(data, 4)", [[1, 0, 0, 0]])["curves"][0]["name"] == "instance"
    assert evaluate("curves.js", "exports.curvesOf(data, 4)", [[0, 0, 0, 0]]) == {"curves": [], "top": 1}


def test_long_runs_are_thinned_and_a_spike_does_not_flatten_them():
    """5000 steps of 0.1 and one of 50: every fifth step is drawn, and 0.1 is the top."""
    rows = [[50.0 if step == 1000 else 0.1, 0, 0, 0] for step in range(5000)]
    both = evaluate("curves.js", "exports.curvesOf(data, 5000)", rows)
    assert both["top"] == 0.1
    points = both["curves"][0]["raw"].split()
    assert len(points) == 1000
    assert points[1] == "0.0012,0"


def test_smoothing_looks_back_a_twentieth_of_the_run():
    """Of 40 steps: keep = 1 - 1/2, so that 1, 3 give 1 and (0.25 · 1 + 0.5 · 3) / 0.75."""
    assert evaluate("curves.js", "exports.smoothed(data, 40)", [1, 3]) == pytest.approx([1, 1.75 / 0.75])
