"""The science and the benchmarks in small: one seed, two concepts, two steps; and one table."""

from __future__ import annotations

import importlib
import json
import sys

import numpy as np
import pytest

from benchmarks import reporting
from benchmarks.performance.tables import TABLES
from benchmarks.science import bench, paper_protocol, report, sequences
from benchmarks.science.bench import Bench
from benchmarks.science.experiments import forgetting, table1, tables
from benchmarks.science.lab import Lab
from benchmarks.science.report import mean_sd
from benchmarks.science.sequences import Sequence, load_states, run
from benchmarks.science.variants import PAPER, TABLE_1
from tests.support.science import short

NAMES = ("robot", "candyland")


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Lab:
    return Lab.open(tmp_path_factory.mktemp("science"))


@pytest.fixture
def _few_pictures(monkeypatch):
    """One picture of one prompt where the protocol has several of several."""
    numbers = {
        paper_protocol: ("SINGLE_PROMPTS", "UNSEEN"),
        sequences: ("ORDINARY", "UNSEEN"),
        tables: ("ORDINARY",),
    }
    for module, names in numbers.items():
        for name in names:
            monkeypatch.setattr(module, name, 1)
    for concepts in paper_protocol.IMAGE_COUNTS:
        monkeypatch.setitem(paper_protocol.IMAGE_COUNTS, concepts, 1)


@pytest.mark.usefixtures("_few_pictures")
def test_two_concepts_are_taught_measured_and_kept(lab):
    sequence = Sequence(short(PAPER["cns"]), NAMES, seed=0, multi=False)
    result = run(lab, sequence)
    first, second = result["after"]
    assert (list(first["concepts"]), list(second["concepts"])) == (["robot"], ["robot", "candyland"])
    assert 0 < first["used"] == first["mask"] < second["used"] < first["mask"] + second["mask"]
    assert {"error", "concept", "both", "leak", "clip_t", "clip_i"} <= second["concepts"]["robot"].keys()
    assert first["ordinary"]["error"] > 0
    states = load_states(lab, sequence)
    assert [[concept.token for concept in state.concepts] for state in states] == [["<new1>"], ["<new1>", "<new2>"]]
    files = {path: path.stat().st_mtime_ns for path in sequence.folder(lab).iterdir()}
    assert run(lab, sequence) == result
    assert {path: path.stat().st_mtime_ns for path in sequence.folder(lab).iterdir()} == files  # nothing was done again


@pytest.mark.usefixtures("_few_pictures")
def test_table_1_in_small(lab, tmp_path, monkeypatch, capsys):
    """One seed, two concepts, two steps; a method that is taught in a row and one that is fused."""
    monkeypatch.setattr(reporting, "RESULTS", tmp_path)
    monkeypatch.setattr(reporting, "ROOT", tmp_path)
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(report, "PICTURES", tmp_path)
    few = {key: short(TABLE_1[key]) for key in ("mix_of_show", "cns")}
    here = sys.modules[table1.__module__]
    monkeypatch.setattr(here, "TABLE_1", few)
    for module in (here, forgetting):
        monkeypatch.setattr(module, "SETS", (NAMES,))
    monkeypatch.setattr(Bench, "own", lambda self, seed, orders=(NAMES,): NAMES)
    monkeypatch.setattr(bench, "run_all", lambda jobs, work, workers: [run(lab, job) for job in jobs])
    made = Bench(lab.work, (0,), 1)
    made.lab = lab
    table1(made)
    printed = capsys.readouterr().out
    assert "| Mix-of-Show |" in printed
    assert "| CNS | 74.88 | 76.95 | 67.21 | 79.22 |" in printed
    figures = json.loads(next(tmp_path.glob("science/table1[.-]*")).read_text(encoding="utf-8"))["variants"]
    assert {"clip_i, one", "clip_t, one", "clip_i, two", "all, at the end"} <= figures["mix_of_show"].keys()
    (curves,) = tmp_path.glob("science/table1_forgetting*")
    first = json.loads(curves.read_text(encoding="utf-8"))["first concept is there"]
    assert {key: len(values[0]) for key, values in first.items()} == {"cns": 2}


@pytest.mark.parametrize("name", NAMES)
def test_the_recognizer_knows_the_teaching_pictures(lab, name):
    pictures, _ = paper_protocol.material(name, 0)
    seen = lab.recognizer.recognize(np.stack(pictures))
    assert (seen.of(name) > 0.5).all()
    assert (seen.of("fox") < 0.5).all()


def test_means_with_their_spread():
    assert mean_sd([0.5, 0.7]) == "60.0 ± 14.1"
    assert mean_sd([0.25], digits=2, scale=1) == "0.25"


def test_a_table_of_the_benchmarks(base, tmp_path, monkeypatch, capsys):
    """The larger a change, the more of it is left in 16 bits."""
    monkeypatch.setattr(reporting, "RESULTS", tmp_path)
    monkeypatch.setattr(reporting, "ROOT", tmp_path)

    def measure(module: str, **keywords) -> object:
        return importlib.import_module(f"benchmarks.performance.{module}").measure(base, **keywords)

    TABLES["precision"](measure, 128, 1)
    (file,) = tmp_path.glob("precision*.json")
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    nearest = [row["unchanged"] for row in rows if (row["stored as"], row["rounding"]) == ("float16", "nearest")]
    assert nearest == sorted(nearest, reverse=True)
    assert nearest[0] > 0.5 > nearest[-1]
    assert "| float16 | nearest | 1e-05 |" in capsys.readouterr().out
