"""Takes the documentation's pictures from the running editor: every node as a workflow wires it, and a finished training.

Writes ``web/docs/<node>.jpg`` and ``docs/images/editor.jpg``. Runs the workflows first, on the demo model.
"""

from __future__ import annotations

import json
import os
import shutil
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from demo.editor.canvas.workflow_file import FOLDER, document
from demo.editor.comfy_server import ComfyServer
from demo.editor.graph import Graph
from docs.build.on_demo_model import TEXTS, selected_state

ROOT = Path(__file__).parents[2]
HELP, EDITOR = ROOT / "web" / "docs", ROOT / "docs" / "images" / "editor.jpg"
# Which workflow shows a node; the first node of its kind is taken.
SHOWN_IN = {
    "no_gpu_tour": (*("CNS_LoadDemoModel", "CNS_DemoConcept", "CNS_ComputeGeneralNeurons", "CNS_TrainStep"),),
    "first_steps": ("CNS_TeachFolder",),
    "continual_training": (
        *("CNS_CaptionConceptImages", "CNS_ComputeBaseNeurons", "CNS_SelectConceptNeurons", "CNS_MakePriorImages"),
    ),
    "multi_concept_generation": ("CNS_ApplyState",),
    "captions_from_files": ("CNS_LoadConceptImages", "CNS_SaveState"),
    "two_of_a_kind": ("CNS_Region", "CNS_ApplyRegions"),
    "inspect": ("CNS_LoadState", "CNS_InspectState", "CNS_InspectPrompts"),
    "edit_and_export": ("CNS_RemoveConcept", "CNS_ExportState"),
    "evaluate": ("CNS_EvaluateImages",),
}
RUN = ("no_gpu_tour", "inspect")
_FRAME = 40  # pixels around what is shown
# Nothing opens over the nodes, which are drawn on the canvas.
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.InstalledVersion": "1.32.9",
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.VueNodes.Enabled": False,
    "Comfy.Minimap.Visible": False,
}

_BOUNDS = """kind => {
    const node = app.graph.nodes.find(n => n.type === kind);
    const linked = id => id == null ? undefined : app.graph.getLink(id);
    const before = (node.inputs ?? []).map(i => linked(i.link)?.origin_id);
    const after = (node.outputs ?? []).flatMap(o => (o.links ?? []).slice(0, 1).map(id => linked(id)?.target_id));
    const near = [...before, ...after].map(id => app.graph.getNodeById(id)).filter(Boolean);
    const close = near.filter(n => Math.abs(n.pos[0] - node.pos[0]) < 900 && Math.abs(n.pos[1] - node.pos[1]) < 700);
    const boxes = [node, ...close].map(n => [n.pos[0], n.pos[1] - 30, n.pos[0] + n.size[0], n.pos[1] + n.size[1]]);
    const left = Math.min(...boxes.map(b => b[0])), top = Math.min(...boxes.map(b => b[1]));
    return [left, top, Math.max(...boxes.map(b => b[2])) - left, Math.max(...boxes.map(b => b[3])) - top];
}"""
_TEACHING = """() => {
    const group = app.graph.groups.find(g => g.title.includes("Teach <new1>"));
    return [...group.pos, ...group.size];
}"""


def make(server: ComfyServer) -> None:
    EDITOR.parent.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        path = os.environ.get("CNS_BROWSER") or shutil.which("chromium") or playwright.chromium.executable_path
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1900, "height": 1300}, device_scale_factor=2)
        server.post("/settings", SETTINGS)
        page.goto(server.url)
        page.wait_for_function("() => window.app?.extensionManager?.workflow?.activeWorkflow")
        for name, kinds in SHOWN_IN.items():
            workflow = _workflow(name, server)
            if name == "inspect":
                _on_demo_model(workflow, selected_state(server))
            page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
            page.wait_for_timeout(2000)
            if name in RUN:
                page.evaluate("() => app.queuePrompt(0, 1)")
                page.wait_for_timeout(1500)
                while page.evaluate("async () => Object.values(await (await fetch('/queue')).json()).flat().length"):
                    page.wait_for_timeout(1000)
                page.wait_for_timeout(2000)
            if name == "no_gpu_tour":
                shot(page, page.evaluate(_TEACHING), 1800).save(EDITOR, quality=82)
            for kind in kinds:
                shot(page, page.evaluate(_BOUNDS, kind), 900).save(HELP / f"{kind}.jpg", quality=80)
                print(HELP / f"{kind}.jpg")
        browser.close()


def _workflow(name: str, server: ComfyServer) -> dict:
    if name == "evaluate":
        return _evaluate(server)
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def _evaluate(server: ComfyServer) -> dict:
    """No template, as it needs a judge."""
    flow = Graph(server.object_info())
    pictures = flow.add("LoadImage", (0, 0), size=(300, 300))
    concept = flow.add("CNS_CaptionConceptImages", (340, 0), images=pictures("IMAGE"), noun="dog")
    made = flow.add("LoadImage", (0, 380), size=(300, 300))
    wired = {"images": made("IMAGE"), "concept": concept("concept")}
    scores = flow.add("CNS_EvaluateImages", (760, 0), prompts="a <new1> dog on a beach", **wired)
    flow.add("PreviewAny", (1160, 0), size=(320, 260), source=scores("summary"))
    return document(flow)


def _on_demo_model(workflow: dict, state: str) -> None:
    """The checkpoint loader becomes the demo model, and the state one that was taught on it."""
    for node in workflow["nodes"]:
        if node["type"] == "CheckpointLoaderSimple":
            node.update(type="CNS_LoadDemoModel", widgets_values=[], inputs=[], properties={})
        if node["type"] == "CNS_LoadState":
            node["widgets_values"] = [state]
        if node["type"] == "CLIPTextEncode":
            node["widgets_values"] = [TEXTS.get(node["widgets_values"][0], "")]


def shot(page: Page, bounds: list[float], widest: int) -> Image.Image:
    """What lies within bounds of the canvas, at most ``widest`` pixels wide."""
    left, top, width, height = bounds
    scale = min(1.0, (1900 - 2 * _FRAME - 60) / width, (1300 - 2 * _FRAME - 90) / height)
    page.evaluate(
        "([x, y, s]) => { app.canvas.ds.scale = s; app.canvas.ds.offset = [x, y]; app.canvas.setDirty(true, true); }",
        [(60 + _FRAME) / scale - left, (90 + _FRAME) / scale - top, scale],
    )
    page.wait_for_timeout(900)
    clip = {"x": 60, "y": 90, "width": width * scale + 2 * _FRAME, "height": height * scale + 2 * _FRAME}
    picture = Image.open(BytesIO(page.screenshot(clip=clip))).convert("RGB")
    picture.thumbnail((widest, widest))
    return picture
