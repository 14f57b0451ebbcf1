"""Whatever goes wrong in what accompanies a result, the result comes out: plots, previews, the page, the console, autosaves."""

from __future__ import annotations

import asyncio
import base64
import errno
import io
import logging
import sys
from pathlib import Path

import comfy.model_management
import comfy.utils
import folder_paths
import numpy as np
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.neurons import compute_neurons
from cns_pack.cns_core.comfy_adapter.page import live
from cns_pack.cns_core.comfy_adapter.side_effects import SideEffect, text_picture
from cns_pack.cns_core.state_file import load_state
from cns_pack.nodes.apply.apply_state import ApplyState
from cns_pack.nodes.inspect.inspect_prompts import InspectPrompts
from cns_pack.nodes.inspect.inspect_state import InspectState
from cns_pack.nodes.inspect.plots import budget_plot
from cns_pack.nodes.neurons.select_concept_neurons import SelectConceptNeurons
from cns_pack.nodes.plots import loss_plot
from cns_pack.nodes.train.train_step import TrainStep
from PIL import Image
from server import PromptServer

from tests.support.tiny_models import AveragingVAE

PLACE = {"UNIQUE_ID": "7", "EXTRA_PNGINFO": {"workflow": {"id": "a workflow"}}, "PROMPT": {}}
STEPS = 3


@pytest.fixture(autouse=True)
def output(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    return tmp_path / "output"


@pytest.fixture(scope="module")
def neurons(studio, dog):
    return studio.neurons(dog)


@pytest.fixture
def train(studio, dog, neurons):
    """Runs Train CNS Step as ComfyUI does: inputs in lists, a class of its own with the hidden inputs, inference mode."""

    def run(vae=None, **changes):
        inputs = {"model": studio.model, "clip": studio.clip, "vae": vae or studio.vae, "concept": dog}
        inputs |= {"neurons": neurons, "steps": STEPS, "resolution": 64, "neuron_lr": 1e-3, "preset": "keep"}
        inputs |= {"preview_every": 0, "preview_prompt": "", "initial_word": "", "vectors": 1, **changes}
        with torch.inference_mode():
            return TrainStep.PREPARE_CLASS_CLONE(PLACE).execute(**{name: [value] for name, value in inputs.items()}).args

    return run


@pytest.fixture(scope="module")
def expected(studio, dog, neurons):
    """What the training gives when nothing goes wrong."""
    return studio.teach(dog, neurons=neurons, prior=False, steps=STEPS)[0]


def same_state(state, expected) -> bool:
    vectors = (one.concepts[0].vectors for one in (state, expected))
    return torch.equal(state.delta.values, expected.delta.values) and torch.equal(*vectors)


def says(plot: torch.Tensor, caplog) -> str:
    """The sentence in a plot's place, which is in the log too."""
    sentences = [record.message for record in caplog.records if record.name.endswith("side_effects")]
    for sentence in sentences:
        drawn = torch.from_numpy(np.asarray(text_picture(sentence, 800, 450)).astype(np.float32) / 255)
        if torch.equal(plot[0], drawn):
            return sentence
    raise AssertionError(f"none of {sentences} is in the picture")


@pytest.fixture
def no_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.fixture
def new_matplotlib(monkeypatch):
    """The next import of matplotlib reads its configuration again."""

    def forget() -> dict:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "matplotlib"}

    known = forget()
    yield
    forget()
    sys.modules.update(known)


def test_nothing_goes_wrong(train, expected, output):
    state, plot, summary = train()
    assert same_state(state, expected)
    assert plot.shape == (1, 450, 800, 3)
    (saved,) = (output / "cns" / "autosave").iterdir()
    assert summary.splitlines()[-1] == f"- autosaved as `{saved}`"
    assert same_state(load_state(saved), expected)


def test_autosave_can_be_turned_off(train, expected, output):
    state, _, summary = train(autosave=False)
    assert same_state(state, expected)
    assert "autosaved" not in summary
    assert not output.exists()


def test_matplotlib_is_not_there(train, expected, caplog, no_matplotlib):
    state, plot, _ = train()
    assert same_state(state, expected)
    assert "matplotlib" in says(plot, caplog)


def test_matplotlib_is_told_to_use_a_backend_it_does_not_have(train, expected, caplog, new_matplotlib, monkeypatch):
    """Notebooks hand their MPLBACKEND on to the programs they start."""
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    state, plot, _ = train()
    assert same_state(state, expected)
    assert "Key backend: 'nonsense' is not a valid value" in says(plot, caplog)


def test_matplotlibrc_is_broken(train, expected, caplog, new_matplotlib, monkeypatch, tmp_path):
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe\x00")
    monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path / "matplotlibrc"))
    state, plot, _ = train()
    assert same_state(state, expected)
    assert "UnicodeDecodeError" in says(plot, caplog)


def test_drawing_fails_half_way(train, expected, caplog, monkeypatch):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    def no_room(self):
        raise MemoryError("800 x 450")

    monkeypatch.setattr(FigureCanvasAgg, "draw", no_room)
    state, plot, _ = train()
    assert same_state(state, expected)
    assert says(plot, caplog).startswith("The plot could not be drawn: MemoryError: 800 x 450. The node's other outputs")


def test_selection_does_not_wait_for_its_plot(studio, dog, caplog, no_matplotlib):
    with torch.inference_mode():
        base = compute_neurons(studio.checkpoint, list(dog.descriptions), 0.3, "base", None)
        general = compute_neurons(studio.checkpoint, ["a house by a lake", "two red cars"], 0.3, "general", None)
        neurons, figures, plot = SelectConceptNeurons.execute(base, general, "concept", 0).args
    assert neurons.mask.count == base.mask.without(general.mask).count > 0
    assert "chosen neurons" in figures
    assert "matplotlib" in says(plot, caplog)


def test_inspecting_gives_what_it_can(studio, two_state, caplog, no_matplotlib):
    *plots, summary = InspectState.execute(two_state).args
    assert "<new1> dog" in summary
    with torch.inference_mode():
        plots += InspectPrompts.execute(studio.model, studio.clip, 30.0, "a dog", "a house by a lake").args
    assert len(plots) == 6
    for plot in plots:
        assert "matplotlib" in says(plot, caplog)


def last(kind: str) -> dict:
    """What a page that is opened now shows as the newest of that kind."""
    return [message for message in live.shown() if message["kind"] == kind][-1]


class Undecodable(AveragingVAE):
    """Decodes as ``error`` says."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [comfy.model_management.OOM_EXCEPTION("CUDA out of memory"), RuntimeError("out of memory"), ZeroDivisionError()],
    ids=["out of memory", "a driver's out of memory", "anything"],
)
def test_previews_fail(train, expected, error):
    state, _, _ = train(Undecodable(error), preview_every=1)
    assert same_state(state, expected)
    samples = last("training")["samples"]
    assert [sample["step"] for sample in samples] == [1, 2, 3]
    for sample in samples:
        assert sample["prompt"].startswith(f"The preview could not be drawn: {type(error).__name__}")
        encoded = sample["picture"].partition(",")[2]
        assert len(np.unique(np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded)))))) > 20  # letters, not a plain area


def test_a_repeated_failure_is_logged_once(train, caplog):
    train(Undecodable(ZeroDivisionError()), preview_every=1)
    assert [record.message for record in caplog.records if "preview" in record.message] == [
        "The preview could not be drawn: ZeroDivisionError."
    ]


class Cancelling(AveragingVAE):
    """While it decodes, the user presses Cancel."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        comfy.model_management.interrupt_current_processing()
        comfy.model_management.throw_exception_if_processing_interrupted()
        raise AssertionError("not reached")


def test_cancel_in_a_preview_cancels(train, output):
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        train(Cancelling(), preview_every=2)
    assert last("training")["progress"] == "stopped"
    assert not output.exists()


@pytest.mark.parametrize("kind", [comfy.model_management.InterruptProcessingException, KeyboardInterrupt, SystemExit])
def test_cancel_goes_through(kind):
    with pytest.raises(kind), SideEffect("The plot could not be drawn"):
        raise kind


@pytest.fixture
def dead_server(monkeypatch, tmp_path):
    """A real server whose event loop is closed, as while ComfyUI shuts down; progress bars report to it."""
    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path / "user"))
    monkeypatch.setattr(PromptServer, "instance", None, raising=False)
    loop = asyncio.new_event_loop()
    server = PromptServer(loop)
    loop.close()
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda *_, **__: server.send_sync("progress", {}))
    with pytest.raises(RuntimeError, match="closed"):
        server.send_sync("anything", {})
    return server


def test_page_cannot_be_reached(train, expected, dead_server):
    state, _, _ = train(preview_every=2)
    assert same_state(state, expected)
    training = last("training")
    assert (training["progress"], len(training["rows"]), len(training["samples"])) == ("done", STEPS, 1)


def test_state_panel_cannot_be_filled(studio, two_state, dead_server):
    model, clip = ApplyState.PREPARE_CLASS_CLONE(PLACE).execute(studio.model, studio.clip, two_state, 1.0).args
    assert clip.tokenizer.cns_tokens.keys() == {"<new1>", "<new2>"}
    assert model is not studio.model
    assert [concept["token"] for concept in last("state")["state"]["concepts"]] == ["<new1>", "<new2>"]


def test_cancel_reaches_a_training_whose_page_is_gone(train, dead_server, monkeypatch):
    def cancel(*_, **__):
        comfy.model_management.interrupt_current_processing()
        dead_server.send_sync("progress", {})

    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", cancel)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        train()


class Console(io.StringIO):
    """Windows gives such an error for a console that was closed."""

    def write(self, text: str) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    flush = write


@pytest.mark.parametrize("console", ["closed", "broken", "none"])
def test_console_is_gone(train, expected, monkeypatch, console):
    stream = {"closed": io.StringIO(), "broken": Console(), "none": None}[console]
    if console == "closed":
        stream.close()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        state, plot, _ = train(Undecodable(ZeroDivisionError()), preview_every=2)
    assert same_state(state, expected)
    assert plot.shape == (1, 450, 800, 3)


def test_warning_cannot_be_logged(monkeypatch):
    """Python's logging raises where its own complaint finds a closed console."""
    stream = io.StringIO()
    stream.close()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger(SideEffect.__module__)
    logger.addHandler(handler)
    try:
        monkeypatch.setattr(sys, "stderr", stream)
        with SideEffect("The plot could not be drawn") as drawing:
            raise ZeroDivisionError
    finally:
        logger.removeHandler(handler)
    assert drawing.failure == "The plot could not be drawn: ZeroDivisionError."


def test_autosave_folder_cannot_be_made(train, expected, output):
    (output / "cns").mkdir(parents=True)
    (output / "cns" / "autosave").write_bytes(b"a file of that name")
    state, plot, summary = train()
    assert same_state(state, expected)
    assert plot.shape == (1, 450, 800, 3)
    assert f"The state was not autosaved: The state could not be written to {output}" in summary.splitlines()[-1]
    assert (output / "cns" / "autosave").read_bytes() == b"a file of that name"


def test_disk_is_full(train, expected, output):
    """A limit on the size of files stands for it: the write stops in the middle, too."""
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, before[1]))
    try:
        state, _, summary = train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert same_state(state, expected)
    assert "The state was not autosaved: The state could not be written" in summary
    assert list((output / "cns" / "autosave").iterdir()) == []  # nothing half-written


@pytest.mark.parametrize("text", ["a$b^{$", r"$\frac{$", r"C:\temp\$x$", "snake_case_noun^2", "50 % & #1 ~ {", "狗"])
def test_text_of_users_cannot_break_a_plot(text, caplog):
    budget_plot([text, f"<new1> {text}"], [0.1, 0.2], [1.0, 0.5])
    loss_plot(torch.rand(3, 4), f"Teaching <new1> {text}")
    assert not [record for record in caplog.records if record.name.endswith("side_effects")]


def title_width(title: str) -> int:
    """Pixels of a plot's title from its first letter to its last."""
    top = loss_plot(torch.rand(3, 4), title)[0, :25].mean(dim=-1).numpy()
    columns = np.flatnonzero((top < 0.5).any(axis=0))
    return columns[-1] - columns[0]


def test_text_is_drawn_as_it_stands():
    """Read as a formula, the second title would be three letters."""
    assert title_width(r"$\alpha\beta\gamma$") > 2 * title_width("abc")


def test_other_nodes_settings_of_matplotlib_do_not_matter():
    import matplotlib

    history = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    plain = loss_plot(history, "Teaching")
    with matplotlib.rc_context({"text.usetex": True, "figure.facecolor": "black", "font.size": 30}):
        assert torch.equal(loss_plot(history, "Teaching"), plain)
        assert matplotlib.rcParams["font.size"] == 30


def test_sentence_is_drawn_whatever_is_in_it():
    plain = text_picture("", 800, 450)
    for sentence in ("word " * 300, "x" * 3000, "狗 \ud800 …\n\x00", "$\\frac{$"):
        drawn = text_picture(sentence, 800, 450)
        assert drawn.size == (800, 450)
        assert drawn.tobytes() != plain.tobytes()
