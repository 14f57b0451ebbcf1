"""Committed scores are found again by digests of all they depend on: these must stay as they are, or all is measured again."""

from __future__ import annotations

import json
from dataclasses import replace

from benchmarks.science.experiments import failures, practice, scale, sweeps
from benchmarks.science.lab import digest_of, judges_digest
from benchmarks.science.paper_protocol import SETS
from benchmarks.science.run import SCORES
from benchmarks.science.sequences import Sequence
from benchmarks.science.variants import KEPT, PAPER, TABLE_1, TOUR
from demo.model import MODEL_FILE

VOID = "The committed scores are void: take the change back, or measure everything again and commit scores with new digests."
TRIED = sweeps._SWEEPS | sweeps._RATES | practice._PRACTICE
VARIANTS = [
    *PAPER.values(),
    *KEPT.values(),
    *TABLE_1.values(),
    TOUR,
    *(variant for variants in TRIED.values() for variant in variants.values()),
    *scale._CONDITIONS.values(),
    *(replace(variant, background="beach") for variant in failures._COMPARED.values()),
]


def test_digests_of_the_committed_scores():
    assert digest_of(MODEL_FILE) == "52e01f433762", VOID
    assert judges_digest() == "def86f8a6e7d", VOID
    assert KEPT["keep_full"].digest() == "bc8c5c431526", VOID
    assert Sequence(KEPT["keep_full"], SETS[0], seed=0).key == "bc8c5c431526-d6f233fb-0", VOID


def test_each_committed_file_is_one_that_is_looked_for():
    """Its name is what a known variant and the concepts and the seed in the file make of it."""
    known = {variant.digest(): variant for variant in VARIANTS}
    files = [file for file in SCORES.glob("*/*.json") if not file.name.startswith("untaught-")]
    assert SCORES / digest_of(MODEL_FILE) in {file.parent for file in files}, VOID
    for file in files:
        of = json.loads(file.read_text(encoding="utf-8"))["of"]
        variant = known.get(file.name.partition("-")[0])
        assert variant, f"{of['variant']}: no experiment looks for {file.name}. {VOID}"
        sequence = Sequence(variant, tuple(of["concepts"]), of["seed"])
        assert file.name == f"{sequence.key}-{judges_digest()}.json", VOID
