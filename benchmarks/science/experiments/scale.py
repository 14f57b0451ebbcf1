"""Whether keep_tolerance means the same whatever else changes: the weights' scale, the loss, the training, the sequence."""

from __future__ import annotations

from dataclasses import replace

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from benchmarks.science.bench import Bench
from benchmarks.science.lab import Lab
from benchmarks.science.paper_protocol import SETS, orders_of_twenty
from benchmarks.science.report import collected, mean_sd, table, table_of, write
from benchmarks.science.sequences import Score, Sequence, run
from benchmarks.science.variants import KEPT, LOSSES, Variant
from cns_core.atomic_write import replacing
from cns_core.config import ORDINARY_TOLERANCE
from cns_core.kept_prompts import ORDINARY
from demo.model import MODEL_FILE

_KEEP = KEPT["keep_full"]
_TOLERANCE = _KEEP.config(0).keep_tolerance / 100
_EARLIER = (1, 5, 19)
_PAIRS = tuple(names[:2] for names in SETS)


def _times(title: str, **factors: float) -> Variant:
    config = _KEEP.config(0)
    return _KEEP.changed(title, **{n: type(getattr(config, n))(getattr(config, n) * f) for n, f in factors.items()})


_CONDITIONS = {
    variant.title: variant
    for variant in (
        replace(_KEEP, title="as it is"),
        *(replace(_KEEP, title=title, method=title) for title in LOSSES),
        _times("learning rates ÷ 3", neuron_lr=1 / 3, token_lr=1 / 3),
        _times("learning rates × 3", neuron_lr=3, token_lr=3),
        _times("steps ÷ 3", steps=1 / 3),
        _times("steps × 3", steps=3),
        replace(_KEEP, title="half of the layers", selection="every second layer"),
        *(replace(_KEEP, title=f"captions of {words}", captions=words) for words in ("4 words", "40 words")),
    )
}
_WEIGHTS = {"K and V × 3": 3.0, "K and V ÷ 3": 1 / 3}
_HEAD = (
    *("", "reached of the tolerance, first concept", "ordinary prompts", "the first one's error by the second training"),
    *("of the first one lost, % points", "second one there, %"),
)


def scale(bench: Bench) -> None:
    """Two concepts under each condition: how much of the tolerance is used, what is forgotten, what is learned."""
    results = bench.runs(_CONDITIONS, _PAIRS, multi=False)
    for title, factor in _WEIGHTS.items():
        lab = _rescaled(bench.lab, factor)
        results[title] = [run(lab, Sequence(_KEEP, bench.own(seed, _PAIRS), seed, multi=False)) for seed in bench.seeds]
    figures = {title: collected(map(_score, of_seeds)) for title, of_seeds in results.items()}
    table_of(_HEAD, figures)
    write(bench, "scale", {"conditions": figures, "after": _by_number(bench)})


def _score(result: dict) -> Score:
    """``reached``: how far K and V of what is held are from where they were, after the second training; of the tolerance."""
    (first, second), (one, two) = result["names"], result["after"]
    before, after, ordinary = one["concepts"][first], two["concepts"][first], two["moved"][ORDINARY]
    return {
        "reached": _most_moved(two) / _TOLERANCE,
        "ordinary reached": ordinary / (_TOLERANCE * ORDINARY_TOLERANCE),
        "error": after["error"] / before["error"] - 1,
        "lost": before["concept"] - after["concept"],
        "learned": two["concepts"][second]["concept"],
    }


def _most_moved(row: dict) -> float:
    """Of the earlier concepts."""
    return max(share for name, share in row["moved"].items() if name != ORDINARY)


def _rescaled(lab: Lab, factor: float) -> Lab:
    """A model that computes the same with K and V times the factor: Q and the output projection are divided by it."""
    file = lab.work / f"demo_model_kv_{factor:.3g}.safetensors"
    if not file.is_file():
        factors = {"to_k.weight": factor, "to_v.weight": factor, "to_q.weight": 1 / factor, "to_out.0.weight": 1 / factor}
        with safe_open(MODEL_FILE, "pt") as model:
            about = model.metadata()
        weights = load_file(MODEL_FILE)
        for name in weights:
            _, _, part = name.partition(".attn2.")
            if part in factors:
                weights[name] = weights[name].float() * factors[part]
        with replacing(file) as unfinished:
            save_file(weights, unfinished, about)
    return Lab.open(lab.work, lab.results, file)


def _by_number(bench: Bench) -> dict[str, list[float]]:
    """How much of the tolerance was used with so many earlier concepts, by the one that moved most; of ``twenty``."""
    results = bench.runs({"keep_full": _KEEP}, orders_of_twenty(len(bench.seeds)), every=False)["keep_full"]
    found = {str(n): [_most_moved(result["after"][n]) / _TOLERANCE for result in results] for n in _EARLIER}
    table(["earlier concepts", "reached of the tolerance, %"], [[n, mean_sd(values)] for n, values in found.items()])
    return found
