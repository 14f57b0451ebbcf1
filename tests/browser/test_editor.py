"""What the pack adds to the editor, on the demo model: the live chart, the state panel, the prompt help."""

from __future__ import annotations

import math
import re
import shutil
import uuid

import pytest

from tests.support.editor import (
    LITEGRAPH,
    NODES_2,
    charts,
    frames,
    look_at,
    open_workflow,
    prompt_box,
    ready,
    run,
    teaching_workflow,
    wait_for_status,
)

ENDLESS = 100_000  # steps: whatever the machine, it trains until it is cancelled
RUNNING = r"step [1-9].* left"
MOST_POINTS = 1000  # web/curves.js

# What the editor itself shows in a node: text, and pictures of a progress bar.
OTHER_DISPLAYS = """() => app.graph.nodes.filter(n => n.type === 'CNS_TrainStep').flatMap(n => [
    ...(n.widgets ?? []).map(w => w.name).filter(name => name.startsWith('$$')),
    ...(n.imgs ?? []).map(() => 'picture'),
    ...[...document.querySelectorAll(`[data-node-id="${n.id}"] img`)].filter(i => !i.closest('.cns-chart')).map(i => i.src),
])"""
PANELS = """() => app.graph.nodes.flatMap(n => n.widgets ?? []).filter(w => w.name === 'cns_state')
    .map(w => w.element.textContent)"""
HELP = """() => app.graph.nodes.flatMap(n => n.widgets ?? [])
    .filter(w => w.name === 'cns_prompt_help').map(w => w.element.textContent).join()"""


def steps_of(status: str) -> int:
    return int(re.search(r"step (\d+)/", status)[1])


def points_of(steps: int) -> int:
    return math.ceil(steps / math.ceil(steps / MOST_POINTS))


def test_a_running_training_is_on_every_page(page, server):
    """On the page that queued it, also after a reload, and on one that is opened meanwhile; until it is cancelled."""
    workflow = teaching_workflow(server.object_info(), ENDLESS)
    open_workflow(page, workflow)
    page.evaluate("() => app.queuePrompt(0, 1)")
    before = steps_of(wait_for_status(page, RUNNING))
    page.reload()
    ready(page)
    other = page.context.new_page()
    other.goto(server.url)
    ready(other)
    open_workflow(other, workflow)
    try:
        for each in (page, other):
            assert steps_of(wait_for_status(each, RUNNING)) >= before
        look_at(page, "CNS_TrainStep", "chart_running")
        assert page.locator(".cns-chart:visible").count() == 1
        server.interrupt()
        stopped = [wait_for_status(each, r"^stopped at step \d+/100000$") for each in (page, other)]
        shown = [charts(each) for each in (page, other)]
        assert page.evaluate(OTHER_DISPLAYS) == other.evaluate(OTHER_DISPLAYS) == []
    finally:
        server.interrupt()
        other.close()
    assert stopped[0] == stopped[1]
    assert shown[0] == shown[1]
    (chart,) = shown[0]
    assert set(chart["points"]) == {points_of(steps_of(stopped[0]))}


@pytest.mark.parametrize("editor", [LITEGRAPH, NODES_2], indirect=True)
def test_a_finished_training_stays(page, server):
    """Every step is in the curves, the previews are below them; a reload changes nothing."""
    workflow = teaching_workflow(server.object_info(), 6, preview_every=3, preview_prompt="a <new1> toy in a forest")
    open_workflow(page, workflow)
    run(page)
    (chart,) = charts(page)
    assert re.fullmatch(r"6 steps in \d+:\d\d, [\d.]+ (it/s|s/it)", chart["status"])
    assert chart["points"] == [6] * 4  # the instance loss, the regularization, and a mean of each: there are no prior images
    assert {line.split()[-1].split(",")[0] for line in chart["lines"]} == {"1"}  # up to the right edge
    page.reload()
    ready(page)
    wait_for_status(page, "^6 steps in ")
    assert charts(page) == [chart]
    assert page.evaluate(OTHER_DISPLAYS) == []
    look_at(page, "CNS_TrainStep", "chart_done")
    strip = page.locator(".cns-samples:visible")
    assert strip.locator("figcaption").all_inner_texts() == ["step 3", "step 6"]
    loaded = "pictures => pictures.every(picture => picture.complete && picture.naturalWidth === 128)"
    assert strip.locator("img").evaluate_all(loaded)
    assert len(set(strip.locator("img").evaluate_all("pictures => pictures.map(picture => picture.src)"))) == 2
    assert page.locator(".cns-sample-prompt").inner_text() == "a <new1> toy in a forest"


def test_charts_and_panels_belong_to_the_workflow_that_ran(page, server):
    workflow = teaching_workflow(server.object_info(), 5)
    open_workflow(page, workflow)
    run(page)
    chart, panels = charts(page), page.evaluate(PANELS)
    assert len(chart) == 1
    assert len(panels) == 2  # Train and Apply
    assert all("<new1>" in panel for panel in panels)
    open_workflow(page, {**workflow, "id": str(uuid.uuid4())})  # another one with the same node ids
    assert charts(page) == []
    assert page.evaluate(PANELS) == ["", ""]
    open_workflow(page, workflow)
    assert charts(page) == chart
    page.evaluate("() => { const n = app.graph.nodes[0]; n.pos = [n.pos[0] + 40, n.pos[1]]; }")
    page.mouse.up()  # upon which the editor looks for changes, and so knows what to undo
    moved = page.evaluate("() => app.graph.nodes[0].pos[0]")
    page.keyboard.press("Control+z")
    page.wait_for_function("moved => app.graph.nodes[0].pos[0] < moved", arg=moved)
    frames(page)
    assert (charts(page), page.evaluate(PANELS)) == (chart, panels)


def test_two_trainings_have_a_chart_each_one_of_them_in_a_subgraph(page, server):
    open_workflow(page, teaching_workflow(server.object_info(), 6, ("robot", "owl")))
    page.evaluate(
        """() => {
            const inner = app.graph.nodes.filter(n => n.pos[1] >= 1200 && n.type.startsWith('CNS_'));
            app.graph.convertToSubgraph(new Set(inner));
        }"""
    )
    run(page)
    first, second = charts(page)
    assert all(chart["status"].startswith("6 steps in ") for chart in (first, second))
    assert first["lines"] != second["lines"]
    page.evaluate(
        """() => {
            const outer = app.graph.nodes.find(n => n.subgraph);
            app.canvas.openSubgraph ? app.canvas.openSubgraph(outer.subgraph, outer) : app.canvas.setGraph(outer.subgraph);
        }"""
    )
    look_at(page, "CNS_TrainStep", "chart_in_subgraph")
    page.locator(".cns-chart:visible polyline").first.wait_for(state="attached")
    shown = page.locator(".cns-chart:visible polyline").evaluate_all("lines => lines.map(l => l.getAttribute('points'))")
    assert shown in (first["lines"], second["lines"])


@pytest.fixture(scope="module")
def taught_workflow(editor, server) -> dict:
    """Two concepts, taught once."""
    page, _ = editor
    workflow = teaching_workflow(server.object_info(), 5, ("robot", "owl"))
    open_workflow(page, workflow)
    run(page)
    return workflow


@pytest.fixture
def two_taught(page, taught_workflow):
    open_workflow(page, taught_workflow)
    return page


def chip(page, kind: str, token: str):
    node = page.evaluate_handle(
        "kind => app.graph.nodes.find(n => n.type === kind).widgets.find(w => w.name === 'cns_state').element", kind
    ).as_element()
    return next(button for button in node.query_selector_all(".cns-token") if button.inner_text() == token)


def prompt_of(page) -> str:
    return page.evaluate(
        "() => app.graph.nodes.find(n => n.type === 'CLIPTextEncode').widgets.find(w => w.name === 'text').value"
    )


def answer(page, button, press) -> str:
    """What a chip says to a press, once it says its token again."""
    button.evaluate(
        """chip => {
            chip.said = [];
            chip.watcher?.disconnect();
            chip.watcher = new MutationObserver(() => chip.said.push(chip.textContent));
            chip.watcher.observe(chip, { childList: true });
        }"""
    )
    press()
    page.wait_for_function("chip => chip.said.length > 1", arg=button)
    return button.evaluate("chip => chip.said[0]")


def test_state_panel_gives_tokens_away(two_taught):
    page = two_taught
    look_at(page, "CNS_ApplyState", "state_panel")
    panels = page.evaluate(PANELS)
    assert len(panels) == 3  # two trainings and Apply
    assert all("<new1>" in panel and "of K/V used, checkpoint" in panel for panel in panels)
    assert "overlaps <new1>" in panels[-1]
    page.evaluate("() => app.canvas.deselectAll()")
    button = chip(page, "CNS_ApplyState", "<new2>")
    for press in (button.click, lambda: button.press("Enter")):  # a click does not select the node and so take the next one
        page.evaluate("() => navigator.clipboard.writeText('')")
        assert answer(page, button, press) == "copied"
        assert page.evaluate("() => navigator.clipboard.readText()") == "<new2> bird"
    before = prompt_of(page)
    page.evaluate("() => app.canvas.selectNode(app.graph.nodes.find(n => n.type === 'CLIPTextEncode'), false)")
    assert answer(page, button, button.click) == "added"
    assert prompt_of(page) == f"{before} <new2> bird"


def test_prompt_help(two_taught):
    page = two_taught
    box = prompt_box(page)

    def help_is(expected: str) -> None:
        page.wait_for_function(f"expected => ({HELP})() === expected", arg=expected, timeout=10_000)

    def help_for(text: str, expected: str) -> None:
        """No two answers in a row are alike: what is seen is the answer to this text."""
        box.fill(text)
        help_is(expected)

    help_for("a <new7> dog", "This state does not know <new7>. It knows <new1>, <new2>.")
    look_at(page, "CLIPTextEncode", "prompt_help")
    help_for("a <new1> toy and a <new2> bird", "")
    help_for("a <new2> house", "<new2> works best beside its noun: write <new2> bird")
    help_for("a small bird, <new2>, in a tree", "")
    help_for("a <new2> birdhouse", "<new2> works best beside its noun: write <new2> bird")
    help_for("an <owl> bird", "This state does not know <owl>. It knows <new1>, <new2>.")
    page.evaluate(
        """() => {
            const caption = app.graph.nodes.findLast(n => n.type === 'CNS_CaptionConceptImages');
            caption.widgets.find(w => w.name === 'token').value = '<owl>';
        }"""
    )
    page.mouse.up()  # upon which the editor looks for changes
    help_is("")  # not taught yet, but wired: the next run knows it
    help_for("a <new2> bird", "This state does not know <new2>. It knows <new1>, <owl>.")
    page.evaluate(
        """() => {
            const [first, second] = app.graph.nodes.filter(n => n.type === 'CNS_TrainStep');
            second.connect(0, first, 'previous_state');
        }"""
    )
    help_for("a <new9> bird", "")  # half-way through an edit the state leads back to itself: nobody can say


def action(page, token: str, name: str):
    """A button in Apply CNS State, in a concept's row."""
    node = page.evaluate_handle(
        "() => app.graph.nodes.find(n => n.type === 'CNS_ApplyState').widgets.find(w => w.name === 'cns_state').element"
    ).as_element()
    rows = node.query_selector_all(".cns-concept")
    row = next(row for row in rows if row.query_selector(".cns-token").inner_text() == token)
    return row.query_selector(f".cns-{name}")


STRENGTHS = """() => app.graph.nodes.find(n => n.type === 'CNS_ApplyState').widgets
    .find(w => w.name === 'concept_strengths').value"""


# Another training of the last concept, between its removal and Apply CNS State.
TAUGHT_AGAIN = """() => {
    const of = kind => app.graph.nodes.filter(node => node.type === kind);
    const [remove] = of('CNS_RemoveConcept'), [apply] = of('CNS_ApplyState'), trained = of('CNS_TrainStep').at(-1);
    const again = LiteGraph.createNode('CNS_TrainStep');
    app.graph.add(again);
    for (const input of trained.inputs.filter(input => input.link != null && input.name !== 'previous_state')) {
        const link = app.graph.getLink ? app.graph.getLink(input.link) : app.graph.links[input.link];
        app.graph.getNodeById(link.origin_id).connect(link.origin_slot, again, input.name);
    }
    again.widgets.forEach((widget, i) => { if (widget.serialize !== false) widget.value = trained.widgets[i].value; });
    remove.connect(0, again, 'previous_state');
    again.connect(0, apply, 'state');
}"""


def test_a_concept_is_muted_and_removed_from_the_panel(two_taught, server):
    page = two_taught
    look_at(page, "CNS_ApplyState", "concept_actions")
    action(page, "<new1>", "mute").click()
    action(page, "<new2>", "mute").click()
    assert page.evaluate(STRENGTHS) == "<new1> 0, <new2> 0"
    frames(page)
    assert action(page, "<new2>", "mute").inner_text() == "unmute"
    action(page, "<new1>", "mute").click()
    assert page.evaluate(STRENGTHS) == "<new2> 0"
    page.evaluate(STRENGTHS.replace(".value", ".value = '<new1>: 0.5 <new2> 0'"))  # as one may write it by hand
    action(page, "<new1>", "mute").click()
    assert page.evaluate(STRENGTHS) == "<new2> 0, <new1> 0"
    action(page, "<new1>", "mute").click()
    run(page)
    action(page, "<new2>", "mute").click()
    action(page, "<new2>", "remove").click()
    frames(page)
    assert action(page, "<new2>", "remove").is_disabled()
    look_at(page, "CNS_ApplyState", "concept_removed")
    prompt_box(page).fill("a <new2> bird")
    known = "This state does not know <new2>. It knows <new1>."
    page.wait_for_function(f"expected => ({HELP})() === expected", arg=known, timeout=10_000)
    prompt_box(page).fill("a <new1> toy")
    run(page)
    frames(page)
    panels = page.evaluate(PANELS)
    assert ["<new2>" in panel for panel in panels] == [False, True, False, False]  # both trainings, Apply, Remove
    page.evaluate(TAUGHT_AGAIN)
    run(page)
    frames(page)
    assert action(page, "<new2>", "remove").is_enabled()


def test_load_shows_the_file_without_a_run(two_taught):
    page = two_taught
    page.evaluate(
        """async () => {
            app.graph.clear();
            await app.refreshComboInNodes();
            const node = LiteGraph.createNode('CNS_LoadState');
            app.graph.add(node);
            const file = node.widgets.find(w => w.name === 'state_name');
            file.value = file.options.values.filter(name => name.startsWith('browser')).at(-1);
            file.callback(file.value);
        }"""
    )
    page.wait_for_function(f"() => ({PANELS})()[0].includes('<new1>') && ({PANELS})()[0].includes('<new2>')", timeout=10_000)


def test_load_looks_into_the_file_again_after_a_run(two_taught, base):
    """One that was not there when it was named."""
    page, states = two_taught, base / "output" / "cns"
    later = states / "later.safetensors"
    later.unlink(missing_ok=True)
    with page.expect_response(re.compile("state.*later")) as answer:
        page.evaluate(
            """() => {
                app.graph.clear();
                const [load, summary] = ['CNS_LoadState', 'PreviewAny'].map(kind => LiteGraph.createNode(kind));
                for (const node of [load, summary]) app.graph.add(node);
                load.connect(1, summary, 'source');
                const file = load.widgets.find(w => w.name === 'state_name');
                file.value = 'later.safetensors';
                file.callback(file.value);
            }"""
        )
    assert answer.value.status == 404
    shutil.copy(max(states.glob("browser*.safetensors"), key=lambda file: file.stat().st_mtime), later)
    run(page)
    page.wait_for_function(f"() => ({PANELS})()[0].includes('<new1>')", timeout=10_000)


@pytest.mark.parametrize("editor", [LITEGRAPH], indirect=True)
def test_what_is_folded_away_opens_at_its_full_height(page):
    """A text box among it, for the prompts of a style's prior images."""
    page.evaluate(
        """() => {
            app.graph.clear();
            const node = LiteGraph.createNode('CNS_MakePriorImages');
            app.graph.add(node);
            node.pos = [100, 100];
        }"""
    )
    box = "() => app.graph.nodes[0].widgets.find(w => w.name === 'prompts')"
    frames(page)
    folded = page.evaluate("() => app.graph.nodes[0].computeSize()[1]")
    page.evaluate(
        """() => {
            const node = app.graph.nodes[0];
            node.showAdvanced = true;
            node.setSize([node.size[0], node.computeSize()[1]]);
        }"""
    )
    look_at(page, "CNS_MakePriorImages", "unfolded")
    assert page.evaluate(f"() => ({box})().element.getBoundingClientRect().height") > 40
    page.evaluate("() => { app.graph.nodes[0].showAdvanced = false; }")
    frames(page)
    assert page.evaluate("() => app.graph.nodes[0].computeSize()[1]") == folded


def test_the_page_speaks_chinese(two_taught):
    page = two_taught
    try:
        page.evaluate("() => app.extensionManager.setting.set('Comfy.Locale', 'zh')")
        page.evaluate("() => app.loadGraphData(app.graph.serialize())")
        wait_for_status(page, r"^5 步，用时 0:\d\d，")
    finally:
        page.evaluate("() => app.extensionManager.setting.set('Comfy.Locale', 'en')")
