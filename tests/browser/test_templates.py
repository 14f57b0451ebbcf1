"""Every shipped workflow, opened from the template browser; those a newcomer opens first are run with the Run button."""

from __future__ import annotations

import pytest

from demo.editor.shipped import shipped_prompt
from demo.editor.workflows import WORKFLOWS
from demo.training.random_checkpoint import NAME
from tests.support.editor import open_template, press_run, screenshot, set_widgets, show_all, wait_idle
from tests.support.graphs import check_same_graph

pytestmark = pytest.mark.parametrize("frontend", ["bundled"], indirect=True)

SMALL = {
    "no_gpu_tour": {
        "CNS_MakePriorImages": {"count": 2},
        "CNS_TrainStep": {"steps": 10, "preview_every": 5},
        "EmptyLatentImage": {"batch_size": 1},
    },
    "first_steps": {
        "CheckpointLoaderSimple": {"ckpt_name": NAME},
        "CNS_TeachFolder": {"folder": "cns_test", "resolution": 64, "steps": 1, "prior_images": 0},
        "EmptyLatentImage": {"width": 64, "height": 64, "batch_size": 1},
        "KSampler": {"steps": 1},
    },
}
PICTURES_SHOWN = """() => {
    const shown = app.graph.nodes.filter(n => ['SaveImage', 'PreviewImage'].includes(n.type)).map(n => n.imgs ?? []);
    return shown.length && shown.every(pictures => pictures.length && pictures.every(picture => picture.naturalWidth >= 64));
}"""


@pytest.mark.parametrize("name", WORKFLOWS)
def test_it_opens_as_described(page, server, name):
    """What Run would send is the prompt that the server tests run."""
    open_template(page, name)
    assert page.evaluate("() => app.graph.nodes.filter(n => n.has_errors || !n.comfyClass && !n.isVirtualNode).length") == 0
    sent = page.evaluate("async () => (await app.graphToPrompt()).output")
    for content in sent.values():
        if content["class_type"] == "PreviewAny":
            content["inputs"] = {"source": content["inputs"]["source"]}  # the editor's own field for the text goes along
    check_same_graph(sent, shipped_prompt(name, server.object_info()))
    show_all(page)
    screenshot(page, f"template_{name}")


@pytest.mark.usefixtures("pictures", "checkpoint")
@pytest.mark.parametrize("name", SMALL)
def test_it_runs(page, name):
    open_template(page, name)
    set_widgets(page, SMALL[name])
    press_run(page)
    wait_idle(page, 900)
    assert page.evaluate("() => document.querySelector('.p-dialog, [role=dialog]')?.textContent ?? ''") == ""
    show_all(page)
    page.wait_for_function(PICTURES_SHOWN, timeout=10_000)
    screenshot(page, f"run_{name}")
    texts = "() => app.graph.nodes.filter(n => n.type === 'PreviewAny').map(n => n.widgets.map(w => w.value).join(''))"
    assert all(page.evaluate(texts))
