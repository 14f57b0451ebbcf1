"""What fails: two concepts of one class, backgrounds learned along, attributes on the wrong thing."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import torch

from benchmarks.science.bench import Bench
from benchmarks.science.paper_protocol import Test, noise_seed, single_tests, tokens_of
from benchmarks.science.report import save_grid, table_of, write
from benchmarks.science.sequences import Sequence, load_states, measure, pictures_of
from benchmarks.science.variants import KEPT, PAPER, Variant
from cns_core.state import CNSState
from demo.world.palette import COLORS
from demo.world.scene import Scene, Thing
from demo.world.things import THINGS

_ONE_CLASS = (("robot", "guitar"), ("bee", "panda"), ("turtle", "bee"))
_TWO_CLASSES = (("robot", "fox"), ("bee", "cactus"), ("turtle", "crown"))
_COMPARED = {"cns": PAPER["cns"], "keep_concept": KEPT["keep_concept"]}
_ALONE = (("robot",), ("owl",), ("cactus",))
_COPIES = 4  # pictures of a prompt
_BESIDE = 24  # things beside a concept


def failures(bench: Bench) -> None:
    """Two concepts of one class in one picture; a background all teaching pictures share; colours on the wrong thing."""
    bench.teach(_COMPARED.values(), _ONE_CLASS + _TWO_CLASSES + _ALONE)
    write(bench, "failures", {"classes": _classes(bench), "background": _background(bench), "attributes": _attributes(bench)})


def _state(bench: Bench, variant: Variant, names: tuple[str, ...], seed: int) -> CNSState:
    return load_states(bench.lab, Sequence(variant, names, seed))[-1]


def _classes(bench: Bench) -> dict:
    """A left of B, both taught: are both there; and does A's token alone draw B in A's place."""
    figures = {
        f"{variant.title}, {title}": pairs_apart(bench, variant, pairs)
        for variant in _COMPARED.values()
        for title, pairs in (("one class", _ONE_CLASS), ("two classes", _TWO_CLASSES))
    }
    table_of(["", "both there, %", "the other one instead, %"], figures)
    lines, labels = [], []
    for names in (_ONE_CLASS[0], _TWO_CLASSES[0]):
        for variant in _COMPARED.values():
            prompts = [test.prompt for test in _side_by_side(names, 6)]
            lines.append(bench.lab.pictures(prompts, list(range(6)), _state(bench, variant, names, bench.seeds[0])))
            labels.append(f"{variant.title}: {' left of '.join(names)}")
    save_grid(lines, labels, [""] * 6, "failures_classes")
    return figures


def pairs_apart(bench: Bench, variant: Variant, pairs: tuple[tuple[str, ...], ...]) -> dict[str, list[float]]:
    """Of each seed, for pairs that were taught: how often both are there side by side, and the other where one is asked for."""
    values: dict[str, list[float]] = {"both there": [], "the other one instead": []}
    for seed in bench.seeds:
        both, swapped = [], []
        for names in pairs:
            state = _state(bench, variant, names, seed)
            both.append(measure(bench.lab, state, names, _side_by_side(names, 4), _COPIES, seed)["concept"])
            swapped.append(_instead(bench, state, names, seed))
        values["both there"].append(float(np.mean(both)))
        values["the other one instead"].append(float(np.mean(swapped)))
    return values


def _side_by_side(names: tuple[str, ...], count: int) -> list[Test]:
    scenes = [Scene(tuple(Thing(name, "") for name in names), color) for color in list(COLORS)[:count]]
    return [Test.of(scene, tokens_of(names)) for scene in scenes]


def _instead(bench: Bench, state: CNSState, names: tuple[str, ...], seed: int) -> float:
    """Share of pictures asked for one of the two alone that show the other in its place."""
    shares = []
    for name, other in (names, names[::-1]):
        prompts = [test.prompt for test in single_tests(name, tokens_of(names), seed) for _ in range(_COPIES)]
        pictures = bench.lab.pictures(prompts, [noise_seed(seed, number) for number in range(len(prompts))], state)
        seen = bench.lab.recognizer.recognize(pictures)
        shares.append(((seen.of(other) > 0.5) & (seen.of(name) <= 0.5)).float().mean().item())
    return float(np.mean(shares))


def _background(bench: Bench) -> dict:
    """Taught on the beach only, asked for elsewhere: is the concept there, and is the beach, unasked. (Captions that all name
    one background also have more neurons in common: more are trained.)
    """
    figures, lines = {}, []
    for variant in _COMPARED.values():
        for background in ("", "beach"):
            title = f"{variant.title}, pictures {'all on a beach' if background else 'on many backgrounds'}"
            taught = replace(variant, title=title, background=background)
            bench.teach([taught], _ALONE)
            values: dict[str, list[float]] = {"concept": [], "beach unasked": [], "mask": []}
            for seed in bench.seeds:
                seen = [_elsewhere(bench, taught, names, seed) for names in _ALONE]
                for metric, found in zip(values, zip(*seen, strict=True), strict=True):
                    values[metric].append(float(np.mean(found)))
            figures[title] = values
            tests = [
                (_tests_elsewhere(names, bench.seeds[0])[:2], _state(bench, taught, names, bench.seeds[0])) for names in _ALONE
            ]
            lines.append([bench.lab.pictures([t.prompt], [5], state)[0] for some, state in tests for t in some])
    table_of(["", "concept is there, %", "beach unasked, %", "of K/V trained, %"], figures)
    prompts = [test.prompt[:18] for names in _ALONE for test in _tests_elsewhere(names, bench.seeds[0])[:2]]
    save_grid(lines, list(figures), prompts, "failures_background")
    return figures


def _tests_elsewhere(names: tuple[str, ...], seed: int) -> list[Test]:
    return [test for test in single_tests(names[0], tokens_of(names), seed) if test.scene.background != "beach"]


def _elsewhere(bench: Bench, variant: Variant, names: tuple[str, ...], seed: int) -> tuple[float, float, float]:
    """Share of pictures with the concept, and with a beach; and of K/V that was trained."""
    state = _state(bench, variant, names, seed)
    prompts = [test.prompt for test in _tests_elsewhere(names, seed) for _ in range(_COPIES)]
    noise = [noise_seed(seed, number) for number in range(len(prompts))]
    seen = bench.lab.recognizer.recognize(bench.lab.pictures(prompts, noise, state))
    shown, beach = ((seen.of(what) > 0.5).float().mean().item() for what in (names[0], "beach"))
    return shown, beach, state.concepts[-1].mask.share


def _attributes(bench: Bench) -> dict:
    """``a blue star left of a <new1> toy``: is the star there, and is it blue."""
    figures, lines = {}, []
    for title, variant in {"nothing taught": None, **{v.title: v for v in _COMPARED.values()}}.items():
        there, right = [], []
        for seed in bench.seeds:
            counts = np.zeros(3)
            for names in _ALONE:
                tests = _beside(names[0])
                state = _state(bench, variant, names, seed) if variant else None
                pictures = pictures_of(bench.lab, state, tests, 1, seed)
                seen = bench.lab.recognizer.recognize(pictures)
                things = [test.scene.things[0] for test in tests]
                shown = torch.stack([seen.of(thing.name)[i] > 0.5 for i, thing in enumerate(things)])
                colored = torch.stack([seen.of((thing.name, thing.color))[i] > 0.5 for i, thing in enumerate(things)])
                counts += (len(tests), int(shown.sum()), int((shown & colored).sum()))
                if names == _ALONE[0] and seed == bench.seeds[0]:
                    lines.append(pictures[:6])
            there.append(counts[1] / counts[0])
            right.append(counts[2] / counts[1])
        figures[title] = {"thing there": there, "in its colour": right}
    table_of(["", "ordinary thing beside the concept is there, %", "of those in the colour asked for, %"], figures)
    labels = [" ".join(test.prompt.split()[:3]) for test in _beside(_ALONE[0][0])[:6]]
    save_grid(lines, list(figures), labels, "failures_attributes")
    return figures


def _beside(name: str) -> list[Test]:
    rng = random.Random(f"binding {name}")
    things = [Thing(rng.choice(list(THINGS)), rng.choice(list(COLORS))) for _ in range(_BESIDE)]
    backgrounds = [rng.choice([color for color in COLORS if color != thing.color]) for thing in things]
    return [
        Test.of(Scene((thing, Thing(name, "")), behind), {name: "<new1>"})
        for thing, behind in zip(things, backgrounds, strict=True)
    ]
