"""Figures 3 and 7 of the paper and its shares: which weights prompts and concepts select."""

from __future__ import annotations

import operator
import random
from dataclasses import replace
from functools import reduce
from itertools import combinations

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.science.bench import Bench
from benchmarks.science.lab import Lab
from benchmarks.science.paper_protocol import SETS, calibration_prompts, tokens_of
from benchmarks.science.report import mean_sd, save_plot, table, write
from benchmarks.science.selections import FROM_LESS
from benchmarks.science.variants import PAPER, Variant
from cns_core.comfy_adapter.neurons import prompt_masks
from cns_core.config import SelectionConfig
from cns_core.masks import NeuronMask
from cns_core.overlaps import overlaps, shared_by_prompts
from cns_core.selection import union
from demo.world.palette import COLORS
from demo.world.scene import with_article
from demo.world.things import THINGS

COUNTS = (1, 2, 5, 10, 20, 50, 100)
PAIRS = 5  # of an adjective and a noun in a query
_MEASURES = (  # of concepts' neurons: title, digits and scale it is shown with, the paper's value
    ("concept neurons, % of K/V", (1, 100), "about 5"),
    ("concept neurons, % of the UNet", (2, 100), "0.13"),
    ("mIoU of two concepts", (2, 1), "0.24"),
    ("mIoU of seven", (2, 1), "0.02"),
)
_FIRST, _SECOND = slice(0, PAIRS), slice(PAIRS, None)


def common(masks: list[NeuronMask]) -> NeuronMask:
    return reduce(operator.and_, masks)


@torch.inference_mode()
def fig3(bench: Bench) -> None:
    """What is left in common of the selections of more and more prompts; concept neurons and their overlaps."""
    prompts = [calibration_prompts(max(COUNTS), 1 + seed) for seed in bench.seeds]
    shares = np.array([shared_by_prompts(_masks(bench.lab, of_seed)) for of_seed in prompts])
    shared = {count: shares[:, count - 1] for count in COUNTS}
    rows = [[count, mean_sd(values)] for count, values in shared.items()]
    table(["prompts", "of a prompt's selection in common, % (paper: about 53 of many)"], rows)
    figures = {str(count): values.tolist() for count, values in shared.items()}
    write(bench, "fig3", {"shared": figures, "concepts": _concepts(bench)})


def _concepts(bench: Bench) -> dict[str, dict[str, list[float]]]:
    """Of the paper's choice, of word rows alone and of one caption: means over the sets, for each seed."""
    chosen = {"all tokens, all captions": PAPER["cns"]}
    chosen |= {name: replace(PAPER["cns"], selection=name) for name in FROM_LESS}
    figures = {name: np.array([_of_sets(bench, variant, seed) for seed in bench.seeds]).T for name, variant in chosen.items()}
    rows = [
        [title, *(mean_sd(measured[number], *shown) for measured in figures.values()), paper]
        for number, (title, shown, paper) in enumerate(_MEASURES)
    ]
    table(["", *(f"from {name}" for name in figures), "paper"], rows)
    titles = [title for title, *_ in _MEASURES]
    return {name: dict(zip(titles, measured.tolist(), strict=True)) for name, measured in figures.items()}


def _of_sets(bench: Bench, variant: Variant, seed: int) -> np.ndarray:
    """One value for each of ``_MEASURES``."""
    found = []
    for names in SETS:
        concepts = [bench.lab.concept(name, token, seed, variant) for name, token in tokens_of(names).items()]
        masks = [bench.lab.neurons(concept, variant, seed).mask for concept in concepts]
        share = np.mean([mask.share for mask in masks])
        of_all = share * masks[0].layout.size / _parameters(bench.lab)
        pairs = np.mean([a.iou(b) for a, b in combinations(masks, 2)])
        found.append((share, of_all, pairs, common(masks).count / union(masks).count))
    return np.mean(found, axis=0)


def _masks(lab: Lab, prompts: list[str]) -> list[NeuronMask]:
    return prompt_masks(lab.checkpoint, prompts, SelectionConfig.top_fraction, None)


def _parameters(lab: Lab) -> int:
    return sum(parameter.numel() for parameter in lab.checkpoint.model.model.diffusion_model.parameters())


@torch.inference_mode()
def fig7(bench: Bench) -> None:
    """How alike the neurons of eleven queries are: five adjective-noun pairs, of which one word after the other is replaced."""
    matrices = np.array([_similarity(bench.lab, seed) for seed in bench.seeds])
    figure = Figure((6.5, 5.5), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(matrices.mean(0), vmin=0, vmax=1, cmap="viridis")
    axes.set(xlabel="words replaced", ylabel="words replaced")
    figure.colorbar(drawn, label="intersection over union of a query's neurons")
    save_plot(figure, "fig7")
    rows = [[replaced, mean_sd(matrices[:, 0, replaced], 2, 1)] for replaced in range(2 * PAIRS + 1)]
    table(["words replaced", "IoU with the query as it was"], rows)
    write(bench, "fig7", {"iou": matrices.tolist()})


def _similarity(lab: Lab, seed: int) -> np.ndarray:
    """IoU of every pair of queries (queries, queries), general neurons left out."""
    general = common(_masks(lab, calibration_prompts(20, 1 + seed)))
    return overlaps([mask.without(general) for mask in _masks(lab, _queries(seed))])


def _queries(seed: int) -> list[str]:
    """``a red star, a blue house, …`` and the same with one, two, … of its ten words replaced, left to right."""
    rng = random.Random(f"queries {seed}")
    colors, things = rng.sample(list(COLORS), 2 * PAIRS), rng.sample(list(THINGS), 2 * PAIRS)
    words = [[word for pair in zip(colors[part], things[part], strict=True) for word in pair] for part in (_FIRST, _SECOND)]
    mixed = [[*words[1][:replaced], *words[0][replaced:]] for replaced in range(2 * PAIRS + 1)]
    return [", ".join(with_article(f"{color} {thing}") for color, thing in zip(m[::2], m[1::2], strict=True)) for m in mixed]
