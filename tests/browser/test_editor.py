"""What the pack adds to the editor, on the demo model: the live chart, the state panel, the prompt help."""

from __future__ import annotations

import re
import uuid

import pytest

from tests.support.editor import look_at, open_workflow, queue, ready, status, teaching_workflow, wait_for_status, wait_idle

RUNNING = r"step [1-9].* left"
STEP = re.compile(r"step (\d+)/")


def drawn(page) -> int:
    """Pixels of the first chart in the graph that is open that are not empty."""
    return page.evaluate(
        """() => {
            const node = app.canvas.graph.nodes.find(n => n.type === 'CNS_TrainStep');
            const canvas = node.widgets.find(w => w.name === 'cns_chart').element.querySelector('canvas');
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            return data.filter((value, i) => i % 4 === 3 && value > 0).length;
        }"""
    )


def test_chart_is_live_survives_reloads_and_stays(page, server):
    open_workflow(page, teaching_workflow(server.object_info(), steps=300))
    queue(page)
    before = int(STEP.search(wait_for_status(page, RUNNING))[1])
    page.reload()
    ready(page)
    page.wait_for_function("() => app.graph.nodes.some(n => n.type === 'CNS_TrainStep')")
    assert int(STEP.search(wait_for_status(page, RUNNING, 30))[1]) >= before
    look_at(page, "CNS_TrainStep", "chart_running")
    assert drawn(page) > 500
    wait_idle(page)
    done = wait_for_status(page, r"^300 steps in \d+:\d\d, ")
    page.reload()
    ready(page)
    assert wait_for_status(page, "^300 steps", 10) == done
    look_at(page, "CNS_TrainStep", "chart_done")
    assert drawn(page) > 500


def test_chart_comes_back_after_another_workflow_and_an_undo(page, server):
    workflow = teaching_workflow(server.object_info(), steps=5)
    open_workflow(page, workflow)
    queue(page)
    wait_idle(page)
    done = wait_for_status(page, "^5 steps in ")
    open_workflow(page, {**workflow, "id": "00000000-0000-4000-8000-000000000001"})
    page.wait_for_timeout(1500)
    assert status(page) == []  # another workflow with the same node ids
    open_workflow(page, workflow)
    assert wait_for_status(page, "^5 steps in ", 10) == done
    page.evaluate("() => { const n = app.graph.nodes[0]; n.pos = [n.pos[0] + 40, n.pos[1]]; }")
    page.keyboard.press("Control+z")
    assert wait_for_status(page, "^5 steps in ", 10) == done


def test_cancelled_training_says_so(page, server):
    open_workflow(page, teaching_workflow(server.object_info(), steps=100_000))
    queue(page)
    wait_for_status(page, RUNNING)
    server.interrupt()
    wait_idle(page)
    wait_for_status(page, r"^stopped at step \d+/100000")


def test_previews_stand_under_the_chart(page, server):
    workflow = teaching_workflow(server.object_info(), 4, preview_every=2, preview_prompt="a <new1> toy in a forest")
    open_workflow(page, workflow)
    queue(page)
    wait_idle(page)
    wait_for_status(page, "^4 steps in ")
    look_at(page, "CNS_TrainStep", "previews")
    strip = page.locator(".cns-samples").first
    assert [text.split()[-1] for text in strip.locator("figure").all_inner_texts()] == ["2", "4"]
    loaded = "pictures => pictures.every(picture => picture.complete && picture.naturalWidth === 128)"
    assert strip.locator("img").evaluate_all(loaded)
    assert strip.locator("img").evaluate_all("pictures => new Set(pictures.map(picture => picture.src)).size") == 2
    assert page.locator(".cns-sample-prompt").first.inner_text() == "a <new1> toy in a forest"


def test_two_trainings_have_a_chart_each_one_of_them_in_a_subgraph(page, server):
    open_workflow(page, teaching_workflow(server.object_info(), 6, ("robot", "owl")))
    page.evaluate(
        """() => {
            const inner = app.graph.nodes.filter(n => n.pos[1] >= 1200 && n.type.startsWith('CNS_'));
            app.graph.convertToSubgraph(new Set(inner));
        }"""
    )
    queue(page)
    wait_idle(page)
    wait_for_status(page, "^6 steps in ")
    assert len(status(page)) == 2
    assert all(text.startswith("6 steps in ") for text in status(page))
    page.evaluate(
        """() => {
            const outer = app.graph.nodes.find(n => n.subgraph);
            app.canvas.openSubgraph ? app.canvas.openSubgraph(outer.subgraph, outer) : app.canvas.setGraph(outer.subgraph);
        }"""
    )
    look_at(page, "CNS_TrainStep", "chart_in_subgraph")
    assert drawn(page) > 500


@pytest.fixture
def two_taught(page, server):
    open_workflow(page, teaching_workflow(server.object_info(), 5, ("robot", "owl")))
    queue(page)
    wait_idle(page)
    wait_for_status(page, "^5 steps in ")
    return page


def chip(page, kind: str, token: str):
    node = page.evaluate_handle(
        "kind => app.graph.nodes.find(n => n.type === kind).widgets.find(w => w.name === 'cns_state').element", kind
    ).as_element()
    return next(button for button in node.query_selector_all(".cns-token") if button.inner_text() == token)


def set_prompt(page, text: str) -> None:
    page.evaluate(
        """text => {
            const prompt = app.graph.nodes.find(n => n.type === 'CLIPTextEncode');
            prompt.widgets.find(w => w.name === 'text').value = text;
        }""",
        text,
    )


def prompt_of(page) -> str:
    return page.evaluate(
        "() => app.graph.nodes.find(n => n.type === 'CLIPTextEncode').widgets.find(w => w.name === 'text').value"
    )


PANELS = """() => app.graph.nodes.flatMap(n => n.widgets ?? []).filter(w => w.name === 'cns_state')
    .map(w => w.element.textContent)"""


def test_panels_belong_to_the_workflow_that_ran(page, server):
    workflow = teaching_workflow(server.object_info(), 30)
    open_workflow(page, workflow)
    queue(page)
    wait_for_status(page, RUNNING)
    open_workflow(page, {**workflow, "id": str(uuid.uuid4())})  # another one with the same node ids
    wait_idle(page)
    page.wait_for_timeout(1500)
    assert page.evaluate(PANELS) == ["", ""]  # of Train and Apply
    open_workflow(page, workflow)
    page.wait_for_function(f"() => ({PANELS})().every(text => text.includes('<new1>'))", timeout=10_000)


def test_state_panel_gives_tokens_away(two_taught):
    page = two_taught
    look_at(page, "CNS_ApplyState", "state_panel")
    panels = page.evaluate(PANELS)
    assert len(panels) == 3  # two trainings and Apply
    assert all("<new1>" in panel and "of K/V used, checkpoint" in panel for panel in panels)
    assert "overlaps <new1>" in panels[-1]
    page.evaluate("() => app.canvas.deselectAll()")
    for _ in range(2):  # the first click does not select the node and so take the second one
        chip(page, "CNS_ApplyState", "<new2>").click()
        page.wait_for_timeout(1000)
    assert page.evaluate("() => navigator.clipboard.readText()") == "<new2> bird"
    before = prompt_of(page)
    page.evaluate(
        """() => {
            const prompt = app.graph.nodes.find(n => n.type === 'CLIPTextEncode');
            app.canvas.selectNode(prompt, false);
        }"""
    )
    chip(page, "CNS_ApplyState", "<new2>").click()
    assert prompt_of(page) == f"{before} <new2> bird"


def test_prompt_help(two_taught):
    page = two_taught

    def help_is(text: str, expected: str) -> None:
        """No two answers in a row are alike: what is seen is the answer to this text."""
        set_prompt(page, text)
        page.wait_for_function(
            """expected => expected === app.graph.nodes.flatMap(n => n.widgets ?? [])
                .filter(w => w.name === 'cns_prompt_help').map(w => w.element.textContent).join()""",
            arg=expected,
            timeout=10_000,
        )

    help_is("a <new7> dog", "This state does not know <new7>. It knows <new1>, <new2>.")
    look_at(page, "CLIPTextEncode", "prompt_help")
    help_is("a <new1> toy and a <new2> bird", "")
    help_is("a <new2> house", "<new2> works best beside its noun: write <new2> bird")
    help_is("a small bird, <new2>, in a tree", "")
    help_is("a <new2> birdhouse", "<new2> works best beside its noun: write <new2> bird")
    page.evaluate(
        """() => {
            const caption = app.graph.nodes.findLast(n => n.type === 'CNS_CaptionConceptImages');
            caption.widgets.find(w => w.name === 'token').value = '<owl>';
        }"""
    )
    help_is("an <owl> bird", "")  # not taught yet, but wired: the next run knows it
    help_is("a <new2> bird", "This state does not know <new2>. It knows <new1>, <owl>.")
    page.evaluate(
        """() => {
            const [first, second] = app.graph.nodes.filter(n => n.type === 'CNS_TrainStep');
            second.connect(0, first, 'previous_state');
        }"""
    )
    help_is("a <new9> bird", "")  # half-way through an edit the state leads back to itself: nobody can say


def test_load_shows_the_file_without_a_run(page, server):
    open_workflow(page, teaching_workflow(server.object_info(), 5))
    queue(page)
    wait_idle(page)
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
    page.wait_for_function(
        """() => app.graph.nodes.find(n => n.type === 'CNS_LoadState').widgets
            .find(w => w.name === 'cns_state').element.textContent.includes('<new1>')""",
        timeout=10_000,
    )
