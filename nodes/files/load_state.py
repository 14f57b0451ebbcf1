from __future__ import annotations

from comfy_api.latest import io

from ...cns_core.comfy_adapter.folders import state_names, state_path
from ...cns_core.figures import state_figures
from ...cns_core.state_file import load_state
from ..checks import checked
from ..common import CATEGORY_FILES, WHERE, Schema, StateSocket, show


class LoadState(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_LoadState",
            display_name="Load CNS State",
            category=CATEGORY_FILES,
            description="Reads a state from models/cns or output/cns.",
            search_aliases=["load concepts", "import"],
            hidden=WHERE,
            inputs=[
                io.Combo.Input(
                    "state_name", options=state_names(), tooltip="Files in models/cns and output/cns; press R to refresh."
                )
            ],
            outputs=[
                StateSocket.Output(
                    display_name="state", tooltip="For Apply CNS State, Train CNS Step and the other nodes that take a state."
                ),
                io.String.Output(display_name="summary", tooltip="The concepts in it, one per line."),
            ],
        )

    @classmethod
    @checked
    def execute(cls, state_name: str) -> io.NodeOutput:
        state = load_state(state_path(state_name))
        show(state, cls.hidden)
        figures = state_figures(state)
        return io.NodeOutput(state, figures, ui={"text": (figures,)})

    @classmethod
    def fingerprint_inputs(cls, state_name: str) -> tuple[int, int]:  # pyright: ignore[reportIncompatibleMethodOverride] - called by name
        status = state_path(state_name).stat()
        return status.st_mtime_ns, status.st_size
