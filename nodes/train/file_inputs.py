"""The widgets of Train CNS Step that say what it writes."""

from __future__ import annotations

from comfy_api.latest import io

from ...cns_core.comfy_adapter.autosave import KEPT
from ..common import advanced

AUTOSAVE = True


def file_inputs() -> list:
    """Come after those of older workflows, which hold widgets' values by position."""
    return [
        io.Boolean.Input(
            "autosave",
            default=AUTOSAVE,
            optional=True,
            tooltip="Saves the state in output/cns/autosave as soon as the concept is taught; Load CNS State lists it. The "
            f"newest {KEPT} states of a sequence are kept.",
        ),
        advanced(
            io.String.Input(
                "keep_steps",
                default="",
                optional=True,
                tooltip="Also saves the state after these steps, such as 100, 300, beside the autosaves, in case the concept "
                "was better earlier.",
            )
        ),
        advanced(
            io.Boolean.Input(
                "keep_cancelled",
                default=False,
                optional=True,
                tooltip="Keeps the progress of a cancelled or failed training, beside the autosaves, and resumes from there "
                "when the same training is run again.",
            )
        ),
    ]
