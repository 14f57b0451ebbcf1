"""Training practice, on which the paper is silent: prior images, crops, masks, captions, where the token starts."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.science.bench import Bench
from benchmarks.science.report import mean_sd, table
from benchmarks.science.variants import TOUR, Variant

from .failures import pairs_apart
from .regions import PAIRS
from .sweeps import Value, sweep

_ALONE = (("fox",), ("library",), ("teapot",))
_RARE = TOUR.changed("rare word", token_start="rare word")
_PRACTICE: dict[str, dict[Value, Variant]] = {
    "prior images": {
        0: TOUR.changed("no prior", prior_weight=0.0),
        **{count: replace(TOUR, title=f"{count} prior images", priors=count) for count in (4, TOUR.priors, 50, 200)},
    },
    "crops": {count: TOUR.changed(f"{count} crops", crops=count) for count in (1, 6)},
    "masks": {"none": TOUR, "the concept's": replace(TOUR, title="masks", masked=True)},
    "captions": {"whole": TOUR, "short": replace(TOUR, title="short captions", captions="short")},
    "token starts at": {"its class noun": TOUR, "a rare word": _RARE},
}


def practice(bench: Bench) -> None:
    """Prior images, crops, masks, captions and where the token starts, one at a time, on one concept; and two of one class."""
    bench = bench.validating()
    sweep(bench, "practice", _PRACTICE, _ALONE)
    rows = []
    for title, variant in _PRACTICE["token starts at"].items():
        bench.each({"": variant}, PAIRS)
        rows.append([title, *map(mean_sd, pairs_apart(bench, variant, PAIRS).values())])
    table(["two of one class, token starts at", "both there, %", "the other one instead, %"], rows)
