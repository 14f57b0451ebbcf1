"""The science and the benchmarks in small: every experiment with one seed, two concepts, one step; and one table."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from benchmarks import reporting
from benchmarks.performance.tables import TABLES
from benchmarks.science import paper_protocol, report
from benchmarks.science.bench import Bench
from benchmarks.science.experiments import EXPERIMENTS, experiment
from benchmarks.science.lab import Lab, contexts
from benchmarks.science.report import mean_sd
from benchmarks.science.sequences import Sequence, load_states, run
from benchmarks.science.variants import DEMO, PAPER, TABLE_1, Variant
from cns_core.training import run as training

NAMES = ("robot", "candyland")
FEWER = {  # of what a module has many of
    "paper_protocol": {"SINGLE_PROMPTS": 1, "UNSEEN": 1},
    "sequences": {"ORDINARY": 1, "UNSEEN": 1, "LATER_IMAGES": 1},
    "experiments.base_model": {"PROMPTS": 6, "_SHOWN": 1},
    "experiments.failures": {"_ONE_CLASS": 1, "_TWO_CLASSES": 1, "_ALONE": 1, "_COMPARED": 1, "_COPIES": 1, "_SHOWN": 1},
    "experiments.forgetting": {"_COMPARED": 2, "_SHOWN": 1},
    "experiments.masks": {"COUNTS": 3},
    "experiments.practice": {"PAIRS": 1, "_ALONE": 1},
    "experiments.regions": {"PAIRS": 1, "PICTURES": 1},
    "experiments.removal": {"VARIANTS": 1, "_ORDINARY": 1, "_COPIES": 1, "_SHOWN": 1},
    "experiments.scale": {"_CONDITIONS": 2, "_WEIGHTS": 1, "_EARLIER": 1},
    "experiments.tables": {"ORDINARY": 1, "PAPER": 3, "KEPT": 1, "_TABLE_2": 3},
    "experiments.twenty": {"_VARIANTS": 1},
}
ONLY = {
    ("experiments.sweeps", "_SWEEPS"): ("K",),
    ("experiments.sweeps", "_RATES"): ("textual_inversion: token_lr",),
    ("experiments.practice", "_PRACTICE"): ("token starts at",),
    ("experiments.table1", "TABLE_1"): ("mix_of_show", "cns"),  # fused, and in a row
}
PRINTED = {  # some of what each says, where figures are small numbers of chance
    "table1": "| CNS | 74.88 | 76.95 | 67.21 | 79.22 |",
    "recipe": "| concept neurons, keep |",
    "scale": "| K and V × 3 |",
    "removal": "| own weights zeroed |",
    "failures": "| CNS, two classes |",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[Lab]:
    """It teaches with one picture and samples in one step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module("lab"), "STEPS", 1)
        patch.setattr(module("lab"), "material", lambda *which: tuple(part[:1] for part in paper_protocol.material(*which)))
        yield Lab.open(tmp_path_factory.mktemp("science"))


@pytest.fixture
def _small(monkeypatch, tmp_path):
    """One step, one prior image, one picture of one prompt where there are several of several; files in ``tmp_path``."""
    for name, numbers in FEWER.items():
        for what, count in numbers.items():
            monkeypatch.setattr(module(name), what, some(getattr(module(name), what), count))
    for (name, what), keys in ONLY.items():
        monkeypatch.setattr(module(name), what, {key: some(getattr(module(name), what)[key], 2) for key in keys})
    for name in ("experiments.forgetting", "experiments.masks"):
        monkeypatch.setattr(module(name), "SETS", (NAMES,))
    for concepts in paper_protocol.IMAGE_COUNTS:
        monkeypatch.setitem(paper_protocol.IMAGE_COUNTS, concepts, 1)
    for where, what in ((reporting, "ROOT"), (reporting, "RESULTS"), (report, "ROOT"), (report, "PICTURES")):
        monkeypatch.setattr(where, what, tmp_path)
    config, prior, own = Variant.config, Lab.prior, Bench.own
    short = {"steps": 1, "batch_size": 1}
    monkeypatch.setattr(Variant, "config", lambda self, seed: replace(config(self, seed), **short))
    monkeypatch.setattr(Lab, "prior", lambda self, name, count, around=0: prior(self, name, 1))
    monkeypatch.setattr(Bench, "own", lambda self, seed, orders=(NAMES,): own(self, seed, orders)[: len(NAMES)])


def module(name: str):
    return importlib.import_module(f"benchmarks.science.{name}")


def some(many, count: int):
    if isinstance(many, dict):
        return dict(islice(many.items(), count))
    return many[:count] if isinstance(many, tuple) else count if isinstance(many, int) else many


def here(lab: Lab) -> Bench:
    """With one seed, teaching in this process."""

    def submit(sequence: Sequence) -> Future:
        done: Future = Future()
        done.set_result(run(lab, sequence))
        return done

    return Bench(lab, (0,), lambda: nullcontext(submit))


@pytest.mark.usefixtures("_small")
def test_two_concepts_are_taught_measured_and_kept(lab):
    sequence = Sequence(PAPER["cns"], NAMES, seed=0, multi=False)
    result = run(lab, sequence)
    first, second = result["after"]
    assert (list(first["concepts"]), list(second["concepts"])) == (["robot"], ["robot", "candyland"])
    assert 0 < first["used"] == first["mask"] < second["used"] < first["mask"] + second["mask"]
    assert {"error", "concept", "both", "leak", "clip_t", "clip_i"} <= second["concepts"]["robot"].keys()
    assert first["ordinary"]["error"] > 0
    states = load_states(lab, sequence)
    assert [[concept.token for concept in state.concepts] for state in states] == [["<new1>"], ["<new1>", "<new2>"]]
    folder = sequence.folder(lab)
    files = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert run(lab, sequence) == result
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == files  # nothing was done again
    moved = folder.rename(folder.with_name("elsewhere"))
    assert run(lab, sequence) == result
    assert not folder.exists()  # the scores are enough
    moved.rename(folder)


@pytest.mark.usefixtures("_small")
def test_states_alone_leave_no_scores(lab):
    sequence = Sequence(PAPER["cns"], ("owl",), seed=0, scored=False)
    assert run(lab, sequence) == {}
    assert sequence.file(lab, 1).is_file()
    assert not lab.scores(sequence.key).path.exists()


@pytest.mark.usefixtures("_small")
def test_kept_scores_need_no_states(lab):
    """Means over the orders of a seed, 0.2 and 0.6; the second time nothing is taught, and nothing measured."""
    bench, asked = here(lab), []
    sequences = bench.sequences([PAPER["no_reg"]], [("robot",), ("owl",)])

    def measure(sequence: Sequence) -> dict[str, float]:
        asked.append(bench.state(sequence).concepts[0].name)
        return {"there": 0.2 if sequence.names == ("robot",) else 0.6}

    assert bench.measured(sequences, "a test", measure) == {"there": [pytest.approx(0.4)]}
    for sequence in sequences:
        sequence.file(lab, 1).unlink()
    assert bench.measured(sequences, "a test", measure) == {"there": [pytest.approx(0.4)]}
    assert len(asked) == 2
    assert not any(sequence.file(lab, 1).exists() for sequence in sequences)


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_in_small(lab, tmp_path, capsys, name):
    experiment(name)(here(lab))
    printed = capsys.readouterr().out
    (file,) = (path for path in tmp_path.glob("science/*.json") if path.name.split(".")[0].split("-")[0] == name)
    figures = json.loads(file.read_text(encoding="utf-8"))
    assert figures["seeds"] in ([0], [1000])  # those of what is chosen before the tables
    assert figures["checkpoint"] == lab.digest
    assert printed.count("|") > 10  # a table
    assert PRINTED.get(name, "") in printed
    assert name in {"fig3", "scale"} or list(tmp_path.glob("*.png")), "no picture"


@pytest.mark.parametrize("name", NAMES)
def test_the_recognizer_knows_the_teaching_pictures(lab, name):
    pictures, _ = paper_protocol.material(name, 0)
    seen = lab.recognizer.recognize(np.stack(pictures))
    assert (seen.of(name) > 0.5).all()
    assert (seen.of("fox") < 0.5).all()


def test_word_rows_are_without_start_end_and_padding(lab):
    (features,), (words,) = contexts(lab.checkpoint.clip, ["a red star"]), lab.words(("a red star",))
    assert len(features) == 77
    torch.testing.assert_close(words, features[1:4])


def test_a_loss_times_ten():
    """Of the noise prediction alone: (3² + 1²) / 2 and 2² become ten times as much, the regularization stays."""
    predicted, noise = torch.tensor([[3.0, 1.0], [2.0, 2.0]]).view(2, 2, 1, 1), torch.zeros(2, 2, 1, 1)
    with Variant("ten times", method="loss × 10").how.teaching(None):
        losses = training.concept_loss(predicted, noise, 1, 0.5, torch.tensor(7.0))
    assert losses.detached().tolist() == pytest.approx([50, 40, 7, 50 + 20 + 7])
    assert training.concept_loss(predicted, noise, 1, 0.5, torch.tensor(7.0)).total == 5 + 2 + 7


def test_captions_of_so_many_words():
    caption = "a small red star on grass"
    assert paper_protocol.reworded(caption, "star", "whole") == caption
    assert paper_protocol.reworded(caption, "star", "short") == "a star"
    assert paper_protocol.reworded(caption, "star", "4 words") == "a small red star"
    longer = paper_protocol.reworded(caption, "star", "40 words")
    assert longer.startswith(f"{caption} with soft light")
    assert len(longer.split()) == 40


def test_the_settings_in_use_are_among_those_tried():
    tried, rates = module("experiments.sweeps")._SWEEPS, module("experiments.sweeps")._RATES
    assert all(DEMO[name] in tried[name] for name in ("token_lr", "steps"))
    for name, variant in TABLE_1.items():
        which = "neuron_lr" if variant.config(0).neuron_lr else "token_lr"
        assert getattr(variant.config(0), which) in rates[f"{name}: {which}"]


def test_each_setting_has_one_value_in_use():
    """The differences of its table are against that one."""
    sweeps, practice = module("experiments.sweeps"), module("experiments.practice")
    for setting, variants in (sweeps._SWEEPS | sweeps._RATES | practice._PRACTICE).items():
        in_use = [value for value, variant in variants.items() if variant.digest() in sweeps._IN_USE]
        assert len(in_use) == 1, setting
    assert sweeps._SWEEPS["prev_weight"]["found by itself"].digest() == PAPER["cns"].digest()


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


def test_a_concept_taught_later_is_compared_with_itself():
    orders = [("owl", "fox", "robot"), ("robot", "owl", "fox")]
    own = {"owl": 0.1, "fox": 0.9, "robot": 0.5}
    new = np.array([[own[name] - 0.02 * place for place, name in enumerate(order)] for order in orders])
    assert importlib.import_module("benchmarks.science.experiments.twenty").ten_places_later(orders, new) == "-20.0 ± 0.0"
