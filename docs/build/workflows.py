"""Writes ``example_workflows/*.json`` and ``subgraphs/*.json`` from the descriptions in ``demo/editor/workflows``, in the
format the editor saves.

Widget order and defaults come from the server's ``/object_info``, so that the files fit the nodes of the same commit.
"""

from __future__ import annotations

from demo.editor.canvas.workflow_file import BLUEPRINT_FOLDER, save
from demo.editor.comfy_server import ComfyServer
from demo.editor.workflows import WORKFLOWS, graph_of
from demo.editor.workflows.blueprints import BLUEPRINTS, blueprint_of


def make(server: ComfyServer) -> None:
    info = server.object_info()
    for name in WORKFLOWS:
        print(save(graph_of(name, info)))
    for title in BLUEPRINTS:
        print(save(blueprint_of(title, info), BLUEPRINT_FOLDER))
