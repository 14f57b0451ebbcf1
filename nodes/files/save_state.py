from __future__ import annotations

from datetime import datetime

from comfy_api.latest import io

from ...cns_core.comfy_adapter.file_names import fill_in
from ...cns_core.comfy_adapter.folders import new_state_path
from ...cns_core.figures import state_figures
from ...cns_core.state import CNSState
from ...cns_core.state_file import save_state
from ..checks import checked
from ..common import CATEGORY_FILES, Schema, StateSocket, prompt_nodes


class SaveState(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return Schema(
            node_id="CNS_SaveState",
            display_name="Save CNS State",
            category=CATEGORY_FILES,
            description="Saves a state as one .safetensors file inside ComfyUI's output folder.",
            search_aliases=["save concepts", "export"],
            hidden=[io.Hidden.prompt],
            is_output_node=True,
            inputs=[
                StateSocket.Input("state", tooltip="From Train CNS Step or any other node that gives a state."),
                io.String.Input(
                    "filename_prefix",
                    default="cns/concepts",
                    tooltip="Name of the file inside output; a number is added. Load CNS State lists files in cns/. "
                    "May contain a date or a widget's value, like %date:yyyy-MM-dd% or %CNS_TrainStep.steps%.",
                ),
                io.Boolean.Input(
                    "history",
                    default=True,
                    optional=True,
                    tooltip="Also keeps the values that shared weights had before each concept (up to 5 MB per concept), so "
                    "that individual concepts can be weakened or muted, and the last one undone exactly.",
                ),
            ],
            outputs=[
                StateSocket.Output(display_name="state", tooltip="The same state, passed through."),
                io.String.Output(display_name="path", tooltip="The file that was written."),
            ],
        )

    @classmethod
    @checked
    def execute(cls, state: CNSState, filename_prefix: str, history: bool = True) -> io.NodeOutput:
        path = new_state_path(fill_in(filename_prefix, prompt_nodes(cls.hidden), datetime.now()))
        save_state(state if history else state.without_history(), path)
        return io.NodeOutput(state, str(path), ui={"text": (f"{path}\n{state_figures(state)}",)})
