"""Training practice, on which the paper is silent: prior images, crops, masks, captions, where the token starts."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.science.bench import Bench
from benchmarks.science.report import table_of, write
from benchmarks.science.variants import KEPT, TOUR, Variant

from .failures import pairs_apart
from .regions import PAIRS
from .sweeps import Value, sweep

_ALONE = (("fox",), ("library",), ("teapot",))
_ALL = KEPT["keep_full"]
_RARE = _ALL.changed("rare word", token_start="rare word")
_PRACTICE: dict[str, dict[Value, Variant]] = {
    "prior images": {
        0: _ALL.changed("no prior", prior_weight=0.0),
        **{count: replace(_ALL, title=f"{count} prior images", priors=count) for count in (4, _ALL.priors, 50, 200)},
        "12 and 12 of other scenes": TOUR,
    },
    "crops": {count: _ALL.changed(f"{count} crops", crops=count) for count in (1, 6)},
    "masks": {"none": _ALL, "the concept's": replace(_ALL, title="masks", masked=True)},
    "captions": {"whole": _ALL, "short": replace(_ALL, title="short captions", captions="short")},
    "token starts at": {"its class noun": _ALL, "a rare word": _RARE},
}


def practice(bench: Bench) -> None:
    """Prior images, crops, masks, captions and where the token starts, one at a time, on one concept; and two of one class."""
    bench = bench.validating()
    sweeps = sweep(bench, "practice", _PRACTICE, _ALONE)
    starts = _PRACTICE["token starts at"]
    pairs = {str(title): pairs_apart(bench, variant, PAIRS) for title, variant in starts.items()}
    table_of(["two of one class, token starts at", "both there, %", "the other one instead, %"], pairs)
    write(bench, "practice", {"sweeps": sweeps, "two of one class": pairs})
