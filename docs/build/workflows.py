"""Writes ``example_workflows/*.json`` from the descriptions in ``workflows/``, in the format the editor saves.

Run it against a server that has the pack: ``python demo/build_workflows.py http://127.0.0.1:8188``. Widget order and
defaults come from the server's ``/object_info``, so that the files fit the nodes of the same commit.
"""

from __future__ import annotations

import json
import sys
import urllib.request

from demo.editor.canvas.workflow_file import FOLDER, Workflow
from demo.editor.workflows import on_the_demo_model, teaching, using

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
)


def main(server: str) -> None:
    with urllib.request.urlopen(f"{server.rstrip('/')}/object_info") as answer:
        info = json.load(answer)
    FOLDER.mkdir(exist_ok=True)
    for build in WORKFLOWS:
        flow = Workflow(build.__name__, info)
        build(flow)
        print(flow.save())


if __name__ == "__main__":
    main(sys.argv[1])
