"""Drives the graph editor in a browser."""

from __future__ import annotations

import itertools
import os
import re
import time
import uuid
from pathlib import Path

from playwright.sync_api import Page

from demo.editor.canvas.parts import DEMO, DEMO_TRAINING, Material, applied, sampled, teach
from demo.editor.canvas.workflow_file import document
from demo.editor.graph import Graph

LITEGRAPH, NODES_2 = "litegraph", "nodes_2"
SCREENSHOTS = Path(os.environ["CNS_BASE"]).parent / "screenshots"
_seeds = itertools.count()
CALIBRATION = "a red star on a beach\na blue house in a forest\na green cat on a white background\na cup in a kitchen"


def ready(page: Page) -> None:
    page.wait_for_function("window.app?.graph && window.app.extensions?.some(e => e.name === 'continual-concepts.cns')")
    page.wait_for_timeout(1500)
    page.keyboard.press("Escape")  # the template browser opens over a first start


def use_renderer(page: Page, renderer: str) -> None:
    page.evaluate(
        "on => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)",
        renderer == NODES_2,
    )
    page.reload()
    ready(page)


def open_workflow(page: Page, workflow: dict) -> None:
    page.evaluate("workflow => window.app.loadGraphData(workflow)", workflow)
    page.wait_for_timeout(500)


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
    page.wait_for_timeout(600)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def queue(page: Page) -> None:
    page.evaluate("() => app.queuePrompt(0, 1)")


def wait_idle(page: Page, seconds: float = 180) -> None:
    """Until the queue has been empty for a moment."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        page.wait_for_timeout(400)
        if not page.evaluate("async () => Object.values(await (await fetch('/queue')).json()).flat().length"):
            return page.wait_for_timeout(400)
    raise TimeoutError(f"The queue was not empty after {seconds} s.")


def status(page: Page) -> list[str]:
    """What the charts say, one text for each Train CNS Step, drawn at the moment or not."""
    return page.evaluate(
        """() => {
            const every = graph => graph.nodes.flatMap(n => [n, ...(n.subgraph ? every(n.subgraph) : [])]);
            const charts = every(app.rootGraph ?? app.graph).map(n => n.widgets?.find(w => w.name === 'cns_chart')?.element);
            const shown = charts.filter(e => e && e.style.display !== 'none');
            return shown.map(e => e.querySelector('.cns-chart-status').textContent);
        }"""
    )


def wait_for_status(page: Page, pattern: str, seconds: float = 60) -> str:
    """The first chart's text, once it matches."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = [text for text in status(page) if re.search(pattern, text)]
        if found:
            return found[0]
        page.wait_for_timeout(200)
    raise TimeoutError(f"No chart said {pattern} within {seconds} s; they say {status(page)}.")


def teaching_workflow(object_info: dict, steps: int, concepts: tuple[str, ...] = ("robot",), **training: object) -> dict:
    """The demo model learns concepts; a prompt with their tokens is sampled. No two have a seed in common: none is cached."""
    flow = Graph(object_info)
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
        state = teach(flow, 800, 1200 * row, loaded, general, material, state, **settings)
    saved = flow.add("CNS_SaveState", (2200, 0), state=state, filename_prefix="cns/browser")
    taught = applied(flow, (2200, 200), loaded, saved())
    image = sampled(flow, 2600, 200, taught, "a <new1> toy on a beach", 1, 1, DEMO)
    flow.add("SaveImage", (3300, 200), images=image, filename_prefix="cns/browser")
    return {"id": str(uuid.uuid4()), **document(flow)}  # as a workflow that was saved


def open_template(page: Page, name: str) -> None:
    """As a user does: Browse Templates, the pack's category, the card."""
    page.evaluate("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_text("continual-concepts-cns", exact=True).first.click()
    page.locator(f"[data-testid='template-workflow-{name}']").click()
    page.wait_for_function("() => app.graph.nodes.some(n => n.type.startsWith('CNS_'))")
    page.wait_for_timeout(800)


def set_widgets(page: Page, values: dict[str, dict[str, object]]) -> None:
    """Sets widgets of every node of a kind, as far as there are such nodes."""
    page.evaluate(
        """values => {
            for (const node of app.graph.nodes) {
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
    page.locator("[data-testid='queue-button'] button, button[data-testid='queue-button']").first.click()
    page.wait_for_timeout(1000)


def screenshot(page: Page, name: str) -> None:
    """The whole workflow."""
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
    page.wait_for_timeout(800)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")
