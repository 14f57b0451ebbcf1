"""Drives the graph editor in a browser."""

from __future__ import annotations

import itertools
import os
import uuid
from pathlib import Path

from playwright.sync_api import ElementHandle, Page

from demo.editor.canvas.parts import DEMO, DEMO_TRAINING, Flow, Material
from demo.editor.canvas.workflow_file import document

LITEGRAPH, NODES_2 = "litegraph", "nodes_2"
SCREENSHOTS = Path(os.environ["CNS_BASE"]).parent / "screenshots"
_seeds = itertools.count()
CALIBRATION = "a red star on a beach\na blue house in a forest\na green cat on a white background\na cup in a kitchen"

# The settings a person has who knows the editor: nothing opens over it.
SETTINGS = {"Comfy.TutorialCompleted": True, "Comfy.InstalledVersion": "1.32.9", "Comfy.Locale": "en"}

READY = """() => window.app?.extensionManager?.workflow?.activeWorkflow
    && app.extensions.some(extension => extension.name === 'continual-concepts.cns')"""
RUN = """async () => {
    const ends = ['execution_success', 'execution_error', 'execution_interrupted'];
    const end = new Promise(resolve => ends.forEach(name =>
        app.api.addEventListener(name, ({ detail }) => resolve(detail.exception_message ?? name))));
    const late = new Promise(resolve => setTimeout(resolve, 600_000, 'not done after ten minutes'));
    await app.queuePrompt(0, 1);
    return Promise.race([end, late]);
}"""
CHARTS = """() => {
    const every = graph => graph.nodes.flatMap(n => [n, ...(n.subgraph ? every(n.subgraph) : [])]);
    const panels = every(app.rootGraph ?? app.graph).map(n => n.widgets?.find(w => w.name === 'cns_chart')?.element);
    const points = line => line.getAttribute('points').split(' ').length;
    return panels.filter(panel => panel && !panel.hidden).map(panel => ({
        status: panel.querySelector('.cns-chart-status').textContent,
        points: [...panel.querySelectorAll('polyline')].map(points),
        lines: [...panel.querySelectorAll('polyline')].map(line => line.getAttribute('points')),
    }));
}"""
STATUS = f"pattern => ({CHARTS})().map(chart => chart.status).find(status => new RegExp(pattern).test(status))"


def ready(page: Page) -> None:
    """Until the editor and the workflow it starts with are there."""
    page.wait_for_function(READY)


def frames(page: Page) -> None:
    """Until the page has drawn what it knows."""
    page.evaluate("() => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)))")


def open_workflow(page: Page, workflow: dict) -> None:
    page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
    frames(page)


def run(page: Page) -> None:
    """Queues the workflow, and waits until it is done and the page shows all of it."""
    end = page.evaluate(RUN)
    assert end == "execution_success", end
    frames(page)


def look_at(page: Page, kind: str, name: str) -> None:
    """Brings the first node of a kind, in the graph that is open, near the corner and keeps a screenshot."""
    page.evaluate(
        """kind => {
            const node = app.canvas.graph.nodes.find(n => n.type === kind);
            app.canvas.ds.scale = 1;
            app.canvas.ds.offset = [300 - node.pos[0], 120 - node.pos[1]];
            app.canvas.setDirty(true, true);
        }""",
        kind,
    )
    screenshot(page, name)


def charts(page: Page) -> list[dict]:
    """What each Train CNS Step shows, drawn at the moment or not: status, and each line with its number of points."""
    return page.evaluate(CHARTS)


def wait_for_status(page: Page, pattern: str, seconds: float = 60) -> str:
    """The text of the first chart whose text matches."""
    return page.wait_for_function(STATUS, arg=pattern, timeout=1000 * seconds).json_value()


def prompt_box(page: Page) -> ElementHandle:
    """Where a person writes the first CLIP Text Encode's prompt, whoever draws the node."""
    look_at(page, "CLIPTextEncode", "prompt")
    return page.evaluate_handle(
        """() => {
            const node = app.graph.nodes.find(n => n.type === 'CLIPTextEncode');
            const widget = node.widgets.find(w => w.name === 'text');
            return document.querySelector(`[data-node-id="${node.id}"] textarea`) ?? widget.element;
        }"""
    ).as_element()


def teaching_workflow(object_info: dict, steps: int, concepts: tuple[str, ...] = ("robot",), **training: object) -> dict:
    """The demo model learns concepts; a prompt with their tokens is sampled. No two have a seed in common: none is cached."""
    flow = Flow(object_info)
    demo = flow.add("CNS_LoadDemoModel", (0, 0))
    loaded = demo("MODEL"), demo("CLIP"), demo("VAE")
    general = flow.add(
        "CNS_ComputeGeneralNeurons", (0, 200), model=loaded[0], clip=loaded[1], count=4, calibration_prompts=CALIBRATION
    )()
    state = None
    for row, name in enumerate(concepts):
        pictures = flow.add("CNS_DemoConcept", (400, 1200 * row), concept=name)
        material = Material(f"<new{row + 1}>", pictures("noun"), pictures("images"), pictures("captions"))
        settings = {**DEMO_TRAINING, "steps": steps, "seed": next(_seeds), "preview_every": 0, **training}
        state = teach(flow, (800, 1200 * row), loaded, general, material, state, **settings)
    saved = flow.add("CNS_SaveState", (2200, 0), state=state, filename_prefix="cns/browser")
    taught = flow.applied((2200, 200), loaded, saved())
    image = flow.sampled((2600, 200), taught, "a <new1> toy on a beach", 1, 1, DEMO)
    flow.add("SaveImage", (3300, 200), images=image, filename_prefix="cns/browser")
    return {"id": str(uuid.uuid4()), **document(flow)}  # as a workflow that was saved


def teach(flow: Flow, at: tuple[int, int], loaded, general, material: Material, previous=None, **training: object):
    """Captions to state: the column of selection nodes, Train CNS Step, and what it says."""
    x, y = at
    described, chosen = flow.choose(at, loaded, general, material, previous)
    trained = flow.train((x + 380, y), loaded, described, chosen, material, previous, **training)
    flow.add("PreviewAny", (x + 780, y), f"{material.token}: summary", (420, 300), source=trained("summary"))
    return trained()


def open_template(page: Page, name: str) -> None:
    """As a user does: Browse Templates, the pack's category, the card."""
    page.evaluate("() => { app.graph.extra.before = true; app.extensionManager.command.execute('Comfy.BrowseTemplates'); }")
    page.get_by_text("continual-concepts-cns", exact=True).first.click()
    page.locator(f"[data-testid='template-workflow-{name}']").click()
    page.wait_for_function("() => !app.graph.extra?.before && app.graph.nodes.some(n => n.type.startsWith('CNS_'))")
    if page.evaluate("() => app.graph.nodes.some(n => n.type === 'CheckpointLoaderSimple')"):
        page.locator("[aria-labelledby=global-missing-models-warning]").wait_for()  # the checkpoint, to be downloaded there
        page.keyboard.press("Escape")
    page.locator(".p-dialog, [role=dialog]").wait_for(state="detached")


def set_widgets(page: Page, values: dict[str, dict[str, object]]) -> None:
    """Sets widgets of every node of a kind, in subgraphs too, as far as there are such nodes."""
    page.evaluate(
        """values => {
            const every = graph => graph.nodes.flatMap(n => [n, ...(n.subgraph ? every(n.subgraph) : [])]);
            for (const node of every(app.graph)) {
                for (const [name, value] of Object.entries(values[node.type] ?? {})) {
                    const widget = node.widgets.find(w => w.name === name);
                    widget.value = value;
                    widget.callback?.(value);
                }
            }
        }""",
        values,
    )


def press_run(page: Page) -> None:
    with page.expect_response("**/prompt"):
        page.locator("[data-testid='queue-button'] button, button[data-testid='queue-button']").first.click()


def wait_idle(page: Page, seconds: float) -> None:
    """Until nothing is queued, as after a press on Run."""
    left = page.evaluate(
        """async seconds => {
            const queued = async () => Object.values(await (await fetch('/queue')).json()).flat().length;
            for (const end = Date.now() + 1000 * seconds; (await queued()) && Date.now() < end;) {
                await new Promise(resolve => setTimeout(resolve, 200));
            }
            return queued();
        }""",
        seconds,
    )
    assert not left, f"not done after {seconds} seconds"


def show_all(page: Page) -> None:
    """Brings the whole workflow into view: nodes outside it load no pictures."""
    page.evaluate(
        """() => {
            const boxes = app.graph.nodes.map(n => [n.pos[0], n.pos[1] - 30, n.pos[0] + n.size[0], n.pos[1] + n.size[1]]);
            const [left, top] = [0, 1].map(i => Math.min(...boxes.map(b => b[i])));
            const [right, bottom] = [2, 3].map(i => Math.max(...boxes.map(b => b[i])));
            const scale = Math.min((innerWidth - 140) / (right - left), (innerHeight - 160) / (bottom - top));
            app.canvas.ds.scale = scale;
            app.canvas.ds.offset = [100 / scale - left, 100 / scale - top];
            app.canvas.setDirty(true, true);
        }"""
    )
    frames(page)


def screenshot(page: Page, name: str) -> None:
    frames(page)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")
