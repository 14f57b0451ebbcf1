"""Every shipped workflow, opened from the template browser and run with the Run button."""

from __future__ import annotations

import shutil

import pytest

from demo.editor.workflows import WORKFLOWS
from demo.training.random_checkpoint import NAME
from tests.support.editor import LITEGRAPH, open_template, press_run, screenshot, set_widgets, show_all, wait_idle
from tests.support.graphs import small_workflow

SMALL = {
    "CheckpointLoaderSimple": {"ckpt_name": NAME},
    "EmptyLatentImage": {"width": 64, "height": 64, "batch_size": 1},
    "KSampler": {"steps": 2},
    "CNS_TrainStep": {"resolution": 64, "steps": 2},
    "CNS_LoadConceptImages": {"folder": "my_dog", "resolution": 64},
    "CNS_MakePriorImages": {"resolution": 64, "steps": 2, "count": 2},
    "CNS_TeachFolder": {"folder": "cns_test", "resolution": 64, "steps": 2, "prior_images": 0},
}
SHORT = {"CNS_TrainStep": {"steps": 20, "preview_every": 10}}  # on the demo model
PICTURES_SHOWN = """() => {
    const shown = app.graph.nodes.filter(n => ['SaveImage', 'PreviewImage'].includes(n.type)).map(n => n.imgs ?? []);
    return shown.length && shown.every(pictures => pictures.length && pictures.every(picture => picture.naturalWidth >= 64));
}"""


@pytest.fixture(scope="module", autouse=True)
def _inputs(base, pictures, checkpoint):
    """The picture every ComfyUI brings, except PyPI's, and the folder that captions_from_files speaks of."""
    example = base / "input" / "example.png"
    if not example.is_file():
        shutil.copy(base / "input" / pictures["dog"][0], example)
    folder = base / "input" / "my_dog"
    folder.mkdir(exist_ok=True)
    for index, name in enumerate(pictures["dog"]):
        shutil.copy(base / "input" / name, folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(f"a dog in picture {index}", encoding="utf-8")
    yield
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def saved_state(server, base, pictures) -> str:
    """The name of a state that continual_training saved."""
    folder = base / "output" / "cns"
    if not any(folder.glob("concepts_*.safetensors")):
        result = server.run(small_workflow("continual_training", server, pictures))
        assert result.error is None, result.error
    return max(path.name for path in folder.glob("concepts_*.safetensors"))


@pytest.mark.parametrize("editor", [LITEGRAPH], indirect=True)
@pytest.mark.parametrize("server", ["bundled"], indirect=True)
@pytest.mark.parametrize("name", WORKFLOWS)
def test_template(page, saved_state, name):
    open_template(page, name)
    kinds = page.evaluate("() => app.graph.nodes.map(n => n.type)")
    assert page.evaluate("() => app.graph.nodes.filter(n => n.has_errors || !n.comfyClass && !n.isVirtualNode).length") == 0
    if "CheckpointLoaderSimple" in kinds:
        set_widgets(page, SMALL)
        set_widgets(page, {"CNS_LoadState": {"state_name": saved_state}})
    else:
        set_widgets(page, SHORT)
    press_run(page)
    wait_idle(page, 900)
    assert page.evaluate("() => document.querySelector('.p-dialog, [role=dialog]')?.textContent ?? ''") == ""
    show_all(page)
    page.wait_for_function(PICTURES_SHOWN, timeout=10_000)
    screenshot(page, f"template_{name}")
    texts = "() => app.graph.nodes.filter(n => n.type === 'PreviewAny').map(n => n.widgets.map(w => w.value).join(''))"
    assert all(page.evaluate(texts))
