"""What is compared: which weights are trained, and what holds the earlier concepts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import Tensor

from benchmarks.baselines import METHODS
from benchmarks.baselines.method import Method
from benchmarks.science.paper_protocol import PRIOR_IMAGES
from cns_core.config import SelectionConfig, TrainConfig
from cns_core.training.objective import Losses, concept_loss
from demo.editor.canvas.parts import DEMO_TRAINING

# The demo model's own: SD-1.5's learning rates are for weights that 500 steps at a batch of 1 should barely move.
DEMO = {name: value for name, value in DEMO_TRAINING.items() if name != "preview_every"}
FREE = {"prev_weight": 0.0, "pretrained_weight": 0.0, "keep_tolerance": 0.0}


def _loss_times(factor: float) -> Method:
    """CNS with its noise-prediction loss times ``factor``; what holds earlier concepts stays as it is."""
    root = factor**0.5

    def scaled(predicted: Tensor, noise: Tensor, *rest: Any) -> Losses:
        return concept_loss(predicted * root, noise * root, *rest)

    return Method(f"loss × {factor:g}", parts=lambda lesson: {"cns_core.training.run.concept_loss": scaled})


LOSSES = {method.title: method for method in map(_loss_times, (0.1, 10))}
_HOW = {"": Method("CNS"), **METHODS, **LOSSES}


@dataclass(frozen=True)
class Variant:
    title: str
    strategy: str = "concept"
    settings: dict[str, object] = field(default_factory=dict)
    selection: str = ""  # one of selections.SELECTIONS in place of the strategy's weights
    method: str = ""  # one of METHODS or LOSSES in place of CNS
    background: str = ""  # behind all teaching pictures
    captions: str = "whole"  # see paper_protocol.reworded
    masked: bool = False  # the loss counts the concept itself, and little around it
    priors: int = PRIOR_IMAGES  # of the class
    priors_around: int = 0  # of anything else
    top_fraction: float = SelectionConfig.top_fraction
    calibration_count: int = SelectionConfig.calibration_count

    def config(self, seed: int) -> TrainConfig:
        return TrainConfig(**{**DEMO, **FREE, **self.settings, "seed": seed})

    @property
    def how(self) -> Method:
        return _HOW[self.method]

    def changed(self, title: str, **settings: object) -> Variant:
        return replace(self, title=title, settings={**self.settings, **settings})

    def digest(self) -> str:
        """Of everything but the title, defaults included."""
        values = asdict(self) | {"title": "", "settings": self.config(0).to_dict()}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


PREV = {"prev_weight": None}
KEEP = {"keep_tolerance": DEMO["keep_tolerance"]}

PAPER = {
    "cns": Variant("CNS", settings=PREV),
    "no_reg": Variant("CNS without L_reg"),
    "random": Variant("random neurons", "random", PREV),
    "full": Variant("all K/V", "all K/V"),
    "token": Variant("only the token", settings={"neuron_lr": 0.0}),
}
KEPT = {
    "keep_concept": Variant("concept neurons, keep", settings=KEEP),
    "keep_base": Variant("base neurons, keep", "base", KEEP),
    "keep_full": Variant("all K/V, keep", "all K/V", KEEP),
    "keep_coverage": Variant("SCNS-style selection, keep", settings=KEEP, selection="coverage"),
}
_HALF = PRIOR_IMAGES // 2
TOUR = replace(KEPT["keep_full"], title="the tour", priors=_HALF, priors_around=_HALF)
BASELINES = {name: Variant(how.title, how.strategy, how.settings, method=name) for name, how in METHODS.items()}
TABLE_1 = {
    **BASELINES,
    "cns": PAPER["cns"],
    "keep": KEPT["keep_full"],
    "scns": Variant("SCNS-style selection", settings=PREV, selection="coverage"),
}
