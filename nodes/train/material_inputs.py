"""The widgets of a training that say what its images count and where its token starts."""

from __future__ import annotations

from comfy_api.latest import io

from ...cns_core.config import TOKEN_STARTS, TrainConfig
from ..common import advanced
from .inputs import number

_DEFAULT = TrainConfig()


def material_inputs() -> list:
    """Come after those of older workflows, which hold widgets' values by position."""
    return [
        number(
            "crops",
            io.Int,
            1,
            32,
            1,
            "Crops of each image, at different places and proportions, so that pose and background are not learned with the "
            "concept. 1: its centre, as in the paper.",
            optional=True,
        ),
        advanced(
            io.Boolean.Input(
                "flip",
                default=_DEFAULT.flip,
                optional=True,
                tooltip="Only used with several crops: mirrors half of them. Not for letters, faces or anything else with a "
                "left and a right.",
            )
        ),
        advanced(
            number(
                "outside_weight",
                io.Float,
                0.0,
                1.0,
                0.05,
                "Only used with masks: how much the image outside its mask counts. 1 ignores masks.",
                optional=True,
            )
        ),
        advanced(
            io.Combo.Input(
                "token_start",
                options=list(TOKEN_STARTS),
                default=_DEFAULT.token_start,
                optional=True,
                tooltip="Where the token starts. class noun: at the noun's own vector. rare word: a different one for each "
                "concept, so that two dogs do not start alike.",
            )
        ),
    ]
