"""Writes ``example_workflows/*.json`` from the descriptions in ``demo/editor/workflows``, in the format the editor saves.

Widget order and defaults come from the server's ``/object_info``, so that the files fit the nodes of the same commit.
"""

from __future__ import annotations

from demo.editor.canvas.workflow_file import FOLDER, Workflow
from demo.editor.comfy_server import ComfyServer
from demo.editor.workflows import on_the_demo_model, regional, teaching, using

WORKFLOWS = (
    on_the_demo_model.no_gpu_tour,
    teaching.first_steps,
    teaching.continual_training,
    teaching.add_a_third_concept,
    teaching.style_and_object,
    teaching.captions_from_files,
    using.multi_concept_generation,
    using.inspect,
    on_the_demo_model.with_and_without_l_reg,
    regional.two_of_a_kind_no_gpu,
    regional.two_of_a_kind,
)


def make(server: ComfyServer) -> None:
    info = server.object_info()
    FOLDER.mkdir(exist_ok=True)
    for build in WORKFLOWS:
        flow = Workflow(build.__name__, info)
        build(flow)
        print(flow.save())
