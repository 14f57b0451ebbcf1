"""The widgets of Train CNS Step; names and defaults are :class:`TrainConfig`'s."""

from __future__ import annotations

import dataclasses
from typing import Any

from comfy_api.latest import io

from ...cns_core.comfy_adapter.on_device import GRADIENT_CHECKPOINTING
from ...cns_core.concept import PROMPT_MODES
from ...cns_core.config import CUSTOM, PRESETS, TrainConfig
from ..common import advanced, seed_input

_DEFAULT = TrainConfig()
SETTINGS = tuple(field.name for field in dataclasses.fields(TrainConfig))  # each is a widget of that name


def number(
    name: str, kind: type, low: float, high: float, step: float, tooltip: str, optional: bool = False
) -> io.Int.Input | io.Float.Input:
    extra: dict[str, Any] = {"round": False} if kind is io.Float else {}
    extra |= {"min": low, "max": high, "step": step, "optional": optional}
    return kind.Input(name, default=getattr(_DEFAULT, name), tooltip=tooltip, **extra)


def hyper_parameters() -> list:
    return [
        number("steps", io.Int, 1, 100_000, 1, "Training steps; 500 in the paper."),
        number("neuron_lr", io.Float, 0.0, 1.0, 1e-6, "Learning rate of the selected weights; 3e-5 in the paper."),
        number("token_lr", io.Float, 0.0, 1.0, 1e-5, "Learning rate of the token's vectors; 5e-4 in the paper."),
        number(
            "resolution",
            io.Int,
            64,
            2048,
            64,
            "Images are scaled by their shorter side and cropped to a square this many pixels wide.",
        ),
        number("batch_size", io.Int, 1, 64, 1, "Concept images per step; prior images add as many again."),
        seed_input(_DEFAULT.seed, "The same inputs and seed give the same state; on a GPU the last digits may differ."),
        io.Combo.Input(
            "preset",
            options=[*PRESETS, CUSTOM],
            default=next(iter(PRESETS)),
            tooltip="How earlier concepts are kept. keep: K and V of their prompts, and of ordinary ones, move by no more than "
            "keep_tolerance allows. paper: the paper's loss; use it with the strategy concept. custom: "
            "keep_tolerance together with prev_weight and pretrained_weight, under Show Advanced.",
        ),
        number(
            "keep_tolerance",
            io.Float,
            0.0,
            100.0,
            0.1,
            "Percent, with keep and custom: how far all later trainings together may shift what a concept's prompts read from "
            "the model; ordinary prompts may shift twice as far. Lower keeps more, higher learns more, 0 sets no limit.",
        ),
        io.Int.Input(
            "preview_every",
            default=0,
            min=0,
            max=100_000,
            tooltip="Draws a preview every N steps, each in 20 sampling steps; 0 draws none.",
        ),
        io.String.Input(
            "preview_prompt",
            default="",
            tooltip="What the previews show, with the token. Empty: the template, under Show Advanced.",
        ),
        io.String.Input(
            "initial_word",
            default=_DEFAULT.initial_word,
            tooltip="The token starts from this ordinary word. Empty: see token_start, under Show Advanced.",
        ),
        advanced(number("vectors", io.Int, 1, 32, 1, "How many vectors the token stands for; 1 in the paper.")),
        advanced(
            io.Combo.Input(
                "prompt_mode",
                options=list(PROMPT_MODES),
                default=_DEFAULT.prompt_mode,
                tooltip="caption: each image's caption with '<token> noun' in place of the noun. template: one line for all "
                "images. mix: each step draws one of the two.",
            )
        ),
        advanced(
            io.String.Input(
                "template",
                default=_DEFAULT.template,
                tooltip="The word concept in braces becomes '<token> noun', for example '<new1> dog'.",
            )
        ),
        advanced(number("prior_weight", io.Float, 0.0, 100.0, 0.05, "λ_prior: weight of the class prior images' loss.")),
        advanced(
            number(
                "prev_weight",
                io.Float,
                0.0,
                1e6,
                0.001,
                "Only used by custom. λ_prev: holds neurons of earlier concepts where the previous state left them.",
            )
        ),
        advanced(
            number(
                "pretrained_weight",
                io.Float,
                0.0,
                1e6,
                0.001,
                "Only used by custom. λ_pre: pulls neurons of earlier concepts back to the checkpoint.",
            )
        ),
        advanced(
            io.Combo.Input(
                "gradient_checkpointing",
                options=list(GRADIENT_CHECKPOINTING),
                default=_DEFAULT.gradient_checkpointing,
                tooltip="Recomputes activations to save memory, about a quarter slower. auto: only where memory is short.",
            )
        ),
    ]
