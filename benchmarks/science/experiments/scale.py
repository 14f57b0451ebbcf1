"""Whether keep_tolerance means the same whatever else changes: the weights' scale, the loss, the training, the sequence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from benchmarks.science.bench import Bench
from benchmarks.science.lab import Lab
from benchmarks.science.paper_protocol import IMAGE_COUNTS, SETS, orders_of_twenty, single_tests, tokens_of
from benchmarks.science.report import mean_sd, table, write
from benchmarks.science.sequences import Score, error_of_concept, measure
from benchmarks.science.variants import KEPT, Variant
from cns_core.atomic_write import replacing
from cns_core.comfy_adapter.lesson import Lesson
from cns_core.drift import OFF
from cns_core.kept_prompts import ORDINARY
from cns_core.masks import NeuronMask
from cns_core.state import CNSState, LearnedConcept
from cns_core.state_file import load_state, save_state
from cns_core.training.objective import concept_loss
from demo.model import MODEL_FILE

_KEEP = KEPT["keep_full"]
_FILLER = "with soft light from the left and a clear view of everything that can be seen in it from near and from far away "
_EARLIER = (1, 5, 19)


@dataclass(frozen=True)
class _Condition:
    """``weights``: K and V times this, Q and the output projection divided by it, so that the model computes the same.
    ``words``: of a caption.
    """

    variant: Variant = _KEEP
    weights: float = 1.0
    loss: float = 1.0
    layers: int = 1  # every so-manieth is trained
    words: int = 0


def _training(**factors: float) -> _Condition:
    config = _KEEP.config(0)
    settings = {name: type(getattr(config, name))(getattr(config, name) * factor) for name, factor in factors.items()}
    return _Condition(_KEEP.changed(f"{settings}", **settings))


_CONDITIONS = {
    "as it is": _Condition(),
    "K and V × 3": _Condition(weights=3),
    "K and V ÷ 3": _Condition(weights=1 / 3),
    "loss × 0.1": _Condition(loss=0.1),
    "loss × 10": _Condition(loss=10),
    "learning rates ÷ 3": _training(neuron_lr=1 / 3, token_lr=1 / 3),
    "learning rates × 3": _training(neuron_lr=3, token_lr=3),
    "steps ÷ 3": _training(steps=1 / 3),
    "steps × 3": _training(steps=3),
    "half of the layers": _Condition(layers=2),
    "captions of 4 words": _Condition(words=4),
    "captions of 40 words": _Condition(words=40),
}
_COLUMNS = {
    "reached": "reached of the tolerance, first concept",
    "ordinary reached": "ordinary prompts",
    "error": "the first one's error by the second training",
    "lost": "of the first one lost, % points",
    "learned": "second one there, %",
}


def scale(bench: Bench) -> None:
    """Two concepts under each condition: how much of the tolerance is used, what is forgotten, what is learned."""
    labs = {factor: _rescaled(bench.lab, factor) for factor in {each.weights for each in _CONDITIONS.values()}}
    figures: dict[str, list[Score]] = {}
    for title, condition in _CONDITIONS.items():
        lab = labs[condition.weights]
        figures[title] = [_measured(lab, title, condition, SETS[seed % len(SETS)][:2], seed) for seed in bench.seeds]
    rows = [[title, *(mean_sd([score[key] for score in scores]) for key in _COLUMNS)] for title, scores in figures.items()]
    table(["", *_COLUMNS.values()], rows)
    write(bench, "scale", {"conditions": figures, "after": _by_number(bench)})


def _measured(lab: Lab, title: str, condition: _Condition, names: tuple[str, str], seed: int) -> Score:
    tokens, folder = tokens_of(names), lab.folder / f"scale {condition.variant.digest()} {title}"
    first, second = names

    def score() -> Score:
        with _loss_times(condition.loss):
            one, two = states = list(_taught(lab, condition, names, seed, folder))
        drawn = [measure(lab, state, names, single_tests(first, tokens, seed), IMAGE_COUNTS[1], seed) for state in states]
        before, after = (error_of_concept(lab, state, first, tokens[first], seed)["error"] for state in states)
        other = measure(lab, two, names, single_tests(second, tokens, seed), IMAGE_COUNTS[1], seed)
        return {
            "reached": _reached(two.concepts[1], [one.concepts[0].name]),
            "ordinary reached": _reached(two.concepts[1], [ORDINARY]) / 2,
            "error": after / before - 1,
            "lost": drawn[0]["concept"] - drawn[1]["concept"],
            "learned": other["concept"],
        }

    return lab.scores(f"{folder.name} {seed}").of("all", score)


def _reached(learned: LearnedConcept, names: list[str]) -> float:
    """How far K and V of these are from where they were after its training, at most, of the tolerance."""
    return max(learned.figures[OFF][name] for name in names) / (learned.settings["keep_tolerance"] / 100)


def _taught(lab: Lab, condition: _Condition, names: tuple[str, ...], seed: int, folder: Path) -> Iterator[CNSState]:
    state = None
    for number, name in enumerate(names, start=1):
        file = folder / f"{seed}-{number}.safetensors"
        if not file.is_file():
            concept = lab.concept(name, tokens_of(names)[name], seed, condition.variant)
            if condition.words:
                concept = replace(concept, captions=tuple(_long(text, condition.words) for text in concept.captions))
            neurons = lab.neurons(concept, condition.variant, seed, state)
            if condition.layers > 1:
                neurons = replace(neurons, mask=_every(neurons.mask, condition.layers))
            lesson = Lesson(concept, neurons, lab.prior(name, condition.variant.priors), state)
            save_state(lab.taught(lesson, condition.variant.config(seed + number)), file)
        state = load_state(file)
        yield state


def _long(caption: str, words: int) -> str:
    """A caption of so many words, cut or filled up with words that say nothing of the picture."""
    return " ".join([*caption.split(), *(_FILLER * 2).split()][:words])


def _every(mask: NeuronMask, number: int) -> NeuronMask:
    """The mask in every ``number``-th layer."""
    layers = mask.layout.layers
    kept = {
        layer.name: mask.layer(layer) if index % number == 0 else torch.zeros_like(mask.layer(layer))
        for index, layer in enumerate(layers)
    }
    return NeuronMask.from_layers(mask.layout, kept)


@contextmanager
def _loss_times(factor: float) -> Iterator[None]:
    root = factor**0.5

    def scaled(predicted: torch.Tensor, noise: torch.Tensor, *rest):
        return concept_loss(predicted * root, noise * root, *rest)

    with patch("cns_core.training.run.concept_loss", scaled):
        yield


def _rescaled(lab: Lab, factor: float) -> Lab:
    """A model that computes the same with other K and V."""
    if factor == 1:
        return lab
    file = lab.work / f"demo_model_kv_{factor:.3g}.safetensors"
    if not file.is_file():
        factors = {"to_k.weight": factor, "to_v.weight": factor, "to_q.weight": 1 / factor, "to_out.0.weight": 1 / factor}

        def of(name: str) -> float:
            _, inside, part = name.partition(".attn2.")
            return factors.get(part, 1.0) if inside else 1.0

        with safe_open(MODEL_FILE, "pt") as model:
            about = model.metadata()
        weights = {name: value.float() * of(name) if of(name) != 1 else value for name, value in load_file(MODEL_FILE).items()}
        with replacing(file) as unfinished:
            save_file(weights, unfinished, about)
    return Lab.open(lab.work, lab.results, file)


def _by_number(bench: Bench) -> dict[str, list[float]]:
    """How much of the tolerance was used with so many earlier concepts, by the one that moved most; of ``twenty``."""
    orders = orders_of_twenty(len(bench.seeds))
    results, tolerance = bench.runs({"keep_full": _KEEP}, orders, every=False)["keep_full"], _KEEP.config(0).keep_tolerance
    found: dict[str, list[float]] = {}
    for earlier in _EARLIER:
        moved = [result["after"][earlier]["moved"] for result in results]
        most = [max(share for name, share in of_seed.items() if name != ORDINARY) for of_seed in moved]
        found[str(earlier)] = [share / (tolerance / 100) for share in most]
    table(["earlier concepts", "reached of the tolerance, %"], [[n, mean_sd(values)] for n, values in found.items()])
    return found
