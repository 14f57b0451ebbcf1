"""Every default and its reason, once. Schemas, docs and tests read it from here."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from .errors import CNSError


@dataclass(frozen=True)
class SelectionConfig:
    top_fraction: float = 0.30  # r in the paper, section 4.2: share of each row a prompt selects
    calibration_count: int = 20  # K: overlap falls slowly after 20 prompts (paper, Fig. 3)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.top_fraction <= 1.0:
            raise CNSError(f"top_percent must be above 0 and at most 100, but it is {self.top_fraction * 100:g}.")
        if self.calibration_count < 1:
            raise CNSError(f"At least one calibration prompt is needed, but K is {self.calibration_count}.")


@dataclass(frozen=True)
class TrainConfig:
    """Hyper-parameters of one concept's training (paper, section 5.1, unless a line says otherwise)."""

    steps: int = 500
    neuron_lr: float = 3e-5
    token_lr: float = 5e-4
    batch_size: int = 1  # instance images per step; as many prior images go along
    resolution: int = 512  # pixels; SD-1.5 was trained at 512
    prior_weight: float = 1.0  # lambda_prior
    keep_tolerance: float = 2.0  # percent K and V of an earlier concept's prompts may move; 0: any number; not in the paper
    prev_weight: float | None = 0.0  # lambda_prev; None: found from the first steps' gradients
    pretrained_weight: float = 0.0  # lambda_pre; a tenth of lambda_prev where that is found
    initial_word: str = ""  # the token starts from it; empty: from what token_start says
    vectors: int = 1  # that the token stands for
    prompt_mode: str = "mix"
    template: str = "photo of a {concept}"
    gradient_checkpointing: str = "auto"
    seed: int = 0
    crops: int = 1  # of each image; 1 is its centre, as in the paper
    flip: bool = False  # several crops are mirrored at random; letters and faces should not be
    outside_weight: float = 0.1  # what a place outside an image's mask counts, where a place inside counts 1; not in the paper
    token_start: str = "class noun"  # Custom Diffusion, which CNS builds on, takes rare words; the paper is silent

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "vectors", "crops"):
            if getattr(self, name) < 1:
                raise CNSError(f"{name} must be at least 1, but it is {getattr(self, name)}.")
        for name in ("neuron_lr", "token_lr", "prior_weight", "prev_weight", "pretrained_weight", "keep_tolerance"):
            value = getattr(self, name)
            if value is not None and (not math.isfinite(value) or value < 0):
                raise CNSError(f"{name} must be a number of 0 or more, but it is {value}.")
        if not 0 <= self.outside_weight <= 1:
            raise CNSError(f"outside_weight must be from 0 to 1, but it is {self.outside_weight}.")
        if self.token_start not in TOKEN_STARTS:
            raise CNSError(f"token_start is '{self.token_start}': choose one of {', '.join(TOKEN_STARTS)}.")
        if self.neuron_lr == 0 and self.token_lr == 0:
            raise CNSError("neuron_lr and token_lr are both 0, so the training would change nothing: raise one of them.")
        if self.resolution < 64 or self.resolution % 64:
            raise CNSError(f"resolution must be a multiple of 64 pixels, at least 64, but it is {self.resolution}.")
        if "{concept}" not in self.template:
            raise CNSError(
                f"The template '{self.template}' lacks {{concept}}, so the token would never be trained: "
                "write for example 'photo of a {concept}'."
            )

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    def with_preset(self, name: str) -> TrainConfig:
        """This configuration with what a preset says about keeping earlier concepts; ``custom`` changes nothing.

        Raises:
            CNSError: unknown name.
        """
        if name == CUSTOM:
            return self
        if name not in PRESETS:
            raise CNSError(f"There is no preset '{name}': choose one of {', '.join([*PRESETS, CUSTOM])}.")
        return replace(self, **PRESETS[name])


@dataclass(frozen=True)
class PriorConfig:
    """How class prior images are made."""

    count: int = 50  # DreamBooth and Custom Diffusion make 200; far fewer are memorized
    resolution: int = TrainConfig.resolution
    steps: int = 25
    cfg: float = 7.5
    sampler: str = "dpmpp_2m"
    scheduler: str = "karras"
    negative: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("count", "steps"):
            if getattr(self, name) < 1:
                raise CNSError(f"{name} must be at least 1, but it is {getattr(self, name)}.")
        if self.resolution < 64 or self.resolution % 64:
            raise CNSError(f"resolution must be a multiple of 64 pixels, at least 64, but it is {self.resolution}.")


FEW_PRIORS = 20  # fewer of them are seen so often that they are memorized
CUSTOM = "custom"
TOKEN_STARTS = ("class noun", "rare word")
ORDINARY_TOLERANCE = 2.0  # how many times as far as an earlier concept's prompts ordinary ones may move
PRESETS: dict[str, dict[str, Any]] = {
    # Ours, not in the paper: K and V of earlier concepts' and of ordinary prompts are held to keep_tolerance (docs/method.md).
    "keep": {"prev_weight": 0.0, "pretrained_weight": 0.0},
    # The paper's loss, Eq. 7 and 8, which it gives no weights for, on its images as they are.
    "paper": {"prev_weight": None, "keep_tolerance": 0.0, "crops": 1},
}
