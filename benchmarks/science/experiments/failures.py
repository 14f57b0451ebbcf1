"""What fails: two concepts of one class, backgrounds learned along, attributes on the wrong thing, concepts in a style."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from benchmarks.science.bench import Bench, Order
from benchmarks.science.paper_protocol import Test, single_tests, tokens_of
from benchmarks.science.report import save_grid, table_of, write
from benchmarks.science.sequences import Score, Sequence, measure, pictures_of
from benchmarks.science.variants import KEPT, PAPER, Variant
from cns_core.state import CNSState
from demo.judges.recognizer import Recognition
from demo.world.palette import COLORS
from demo.world.scene import Scene, Thing
from demo.world.styles import STYLES
from demo.world.things import THINGS

_ONE_CLASS = (("bee", "panda"), ("turtle", "bee"), ("snowman", "guitar"))
_TWO_CLASSES = (("bee", "fox"), ("turtle", "balloon"), ("snowman", "fox"))
_COMPARED = {"cns": PAPER["cns"], "keep_full": KEPT["keep_full"]}
_ALONE = (("fox",), ("snowman",), ("bee",))
_COPIES = 4  # pictures of a prompt
_BACKGROUNDS = 4  # of prompts with pairs, and in styles
_BESIDE = 24  # things beside a concept
_SHOWN = 6  # pictures of a line


def failures(bench: Bench) -> None:
    """Two concepts of one class in one picture; a background all teaching pictures share; colours of other things; styles."""
    parts = {"classes": _classes, "background": _background, "attributes": _attributes, "styles": _styles}
    write(bench, "failures", {name: part(bench) for name, part in parts.items()})


def _classes(bench: Bench) -> dict:
    """A left of B, both taught: are both there; and does A's token alone draw B in A's place."""
    figures, lines = {}, {}
    for variant in _COMPARED.values():
        for title, pairs in (("one class", _ONE_CLASS), ("two classes", _TWO_CLASSES)):
            figures[f"{variant.title}, {title}"] = pairs_apart(bench, variant, pairs)
            lines[f"{variant.title}: {' left of '.join(pairs[0])}"] = _drawn(
                bench, Sequence(variant, pairs[0], bench.seeds[0]), _side_by_side(pairs[0], _SHOWN)
            )
    table_of(["", "both there, %", "the other one instead, %"], figures)
    save_grid(list(lines.values()), list(lines), [""] * _SHOWN, "failures_classes")
    return figures


def pairs_apart(bench: Bench, variant: Variant, pairs: tuple[Order, ...]) -> dict[str, list[float]]:
    """Of each seed, for pairs that are taught: how often both are there side by side, and the other where one is asked for."""

    def seen(sequence: Sequence) -> Score:
        state, names, seed = bench.state(sequence), sequence.names, sequence.seed
        together = measure(bench.lab, state, names, _side_by_side(names, _BACKGROUNDS), _COPIES, seed)
        swapped = []
        for name, other in (names, names[::-1]):
            found = _recognized(bench, sequence, single_tests(name, tokens_of(names), seed))
            swapped.append(((found.of(other) > 0.5) & (found.of(name) <= 0.5)).float().mean().item())
        return {"both there": together["concept"], "the other one instead": float(np.mean(swapped))}

    return bench.measured(bench.sequences([variant], pairs), "a pair", seen)


def _side_by_side(names: Order, count: int) -> list[Test]:
    scenes = [Scene(tuple(Thing(name, "") for name in names), color) for color in list(COLORS)[:count]]
    return [Test.of(scene, tokens_of(names)) for scene in scenes]


def _drawn(bench: Bench, sequence: Sequence, tests: list[Test], copies: int = 1) -> np.ndarray:
    return pictures_of(bench.lab, bench.state(sequence), tests, copies, sequence.seed)


def _recognized(bench: Bench, sequence: Sequence, tests: list[Test]) -> Recognition:
    return bench.lab.recognizer.recognize(_drawn(bench, sequence, tests, _COPIES))


def _background(bench: Bench) -> dict:
    """Taught on the beach only, asked for elsewhere: is the concept there, and is the beach, unasked. (Captions that all name
    one background also have more neurons in common: more are trained.)
    """

    def seen(sequence: Sequence) -> Score:
        found = _recognized(bench, sequence, _elsewhere(sequence))
        there, beach = ((found.of(what) > 0.5).float().mean().item() for what in (sequence.names[0], "beach"))
        return {"concept": there, "beach unasked": beach, "mask": bench.state(sequence).concepts[-1].mask.share}

    figures, lines, asked = {}, [], []
    for variant in _COMPARED.values():
        for background in ("", "beach"):
            title = f"{variant.title}, pictures {'all on a beach' if background else 'on many backgrounds'}"
            sequences = bench.sequences([replace(variant, title=title, background=background)], _ALONE)
            figures[title] = bench.measured(sequences, "elsewhere", seen)
            shown = [(sequence, _elsewhere(sequence)[:2]) for sequence in sequences if sequence.seed == bench.seeds[0]]
            lines.append(np.concatenate([_drawn(bench, sequence, tests) for sequence, tests in shown]))
            asked = [f"{sequence.names[0]}, {test.scene.background}" for sequence, tests in shown for test in tests]
    table_of(["", "concept is there, %", "beach unasked, %", "of K/V trained, %"], figures)
    save_grid(lines, list(figures), asked, "failures_background")
    return figures


def _elsewhere(sequence: Sequence) -> list[Test]:
    tests = single_tests(sequence.names[0], tokens_of(sequence.names), sequence.seed)
    return [test for test in tests if test.scene.background != "beach"]


def _attributes(bench: Bench) -> dict:
    """``a blue star left of a <new1> toy``: is the star there, is it blue, and is the concept there."""
    figures, lines = {}, []
    for title, (sequences, taught) in _taught_and_not(bench).items():
        shares = bench.measured(sequences, _measure_of("beside", taught), partial(_colored, bench, taught))
        right = np.divide(shares["colored"], shares["there"])
        figures[title] = {"thing there": shares["there"], "in its colour": right.tolist(), "concept": shares["concept"]}
        lines.append(_drawn_beside(bench, taught, sequences[0])[:_SHOWN])
    thing = "ordinary thing beside the concept is there, %"
    table_of(["", thing, "of those in the colour asked for, %", "concept is there, %"], figures)
    labels = [" ".join(test.prompt.split()[:3]) for test in _beside(_ALONE[0][0])[:_SHOWN]]
    save_grid(lines, list(figures), labels, "failures_attributes")
    return figures


def _taught_and_not(bench: Bench) -> dict[str, tuple[list[Sequence], bool]]:
    """Of each row its sequences, and whether to draw with what they taught: the untaught model has the first one's scores."""
    first, *_ = of_all = [(variant.title, bench.sequences([variant], _ALONE)) for variant in _COMPARED.values()]
    return {"nothing taught": (first[1], False), **{title: (sequences, True) for title, sequences in of_all}}


def _measure_of(what: str, taught: bool) -> str:
    """The name it has among a sequence's scores."""
    return what if taught else f"{what}, untaught"


def _colored(bench: Bench, taught: bool, sequence: Sequence) -> Score:
    """How often the thing beside the concept is there, how often in its colour, and how often the concept is."""
    found = bench.lab.recognizer.recognize(_drawn_beside(bench, taught, sequence))
    things = [test.scene.things[0] for test in _beside(sequence.names[0])]
    there = torch.stack([found.of(thing.name)[number] > 0.5 for number, thing in enumerate(things)])
    colored = torch.stack([found.of((thing.name, thing.color))[number] > 0.5 for number, thing in enumerate(things)])
    concept = found.of(sequence.names[0]) > 0.5
    shares = {"there": there, "colored": there & colored, "concept": concept}
    return {name: seen.float().mean().item() for name, seen in shares.items()}


def _drawn_beside(bench: Bench, taught: bool, sequence: Sequence) -> np.ndarray:
    return pictures_of(bench.lab, _state(bench, taught, sequence), _beside(sequence.names[0]), 1, sequence.seed)


def _state(bench: Bench, taught: bool, sequence: Sequence) -> CNSState | None:
    return bench.state(sequence) if taught else None


def _beside(name: str) -> list[Test]:
    rng = random.Random(f"binding {name}")
    things = [Thing(rng.choice(list(THINGS)), rng.choice(list(COLORS))) for _ in range(_BESIDE)]
    backgrounds = [rng.choice([color for color in COLORS if color != thing.color]) for thing in things]
    return [
        Test.of(Scene((thing, Thing(name, "")), behind), {name: "<new1>"})
        for thing, behind in zip(things, backgrounds, strict=True)
    ]


def _styles(bench: Bench) -> dict:
    """``a <new1> dog on a beach, neon`` after lessons in no style: is the dog there, and are the style and all else."""
    figures, lines = {}, {}
    for title, (sequences, taught) in _taught_and_not(bench).items():
        for style in STYLES:
            what = f"in {style or 'no style'}"
            scores = bench.measured(sequences, _measure_of(what, taught), partial(_styled, bench, style, taught))
            figures[f"{title}, {what}"] = {name: scores[name] for name in ("concept", "rest")}
        tests = [_in_style(sequences[0].names[0], style)[0] for style in STYLES]
        lines[title] = pictures_of(bench.lab, _state(bench, taught, sequences[0]), tests, 1, sequences[0].seed)
    table_of(["", "concept is there, %", "all else asked for, %"], figures)
    save_grid(list(lines.values()), list(lines), [style or "no style" for style in STYLES], "failures_styles")
    return figures


def _styled(bench: Bench, style: str, taught: bool, sequence: Sequence) -> Score:
    tests = _in_style(sequence.names[0], style)
    return measure(bench.lab, _state(bench, taught, sequence), sequence.names, tests, _COPIES, sequence.seed)


def _in_style(name: str, style: str) -> list[Test]:
    backgrounds = list(COLORS)[:_BACKGROUNDS]
    return [Test.of(Scene((Thing(name, ""),), background, style), {name: "<new1>"}) for background in backgrounds]
