"""Teaches a folder of folders: the concepts in it that no state knows yet, one after another, each saved when it is taught."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath

from torch import Tensor

from ..concept import Concept, check_noun
from ..config import PriorConfig, TrainConfig
from ..contexts import CLASS_CONTEXTS, undescribed
from ..errors import CNSError
from ..figures import training_figures
from ..state import CNSState
from ..state_file import load_state, read_settings, save_state
from .autosave import autosaved
from .checkpoint.checkpoint import Checkpoint
from .checkpoint.unpatched import check_unpatched
from .folders import STATES, new_state_path, newest_states
from .interruptions import check_cancelled
from .lesson import PREVIOUS, Lesson
from .neurons import GENERAL_MASK, SAME_MODEL, Neurons, check_kind, compute_neurons, general_neurons, select_neurons
from .page.progress import Progress
from .page.training_progress import Display
from .pictures.folders import find_pictures, load_pictures, subfolders
from .prior import Prior
from .priors.priors import make_priors
from .side_effects import SideEffect
from .teach import teach

# Images without captions, by what people call them, such as "2 of dog - Rex" -> captions.
Captioner = Callable[[Mapping[str, Tensor]], Mapping[str, str]]


@dataclass(frozen=True, eq=False)
class Course:
    """What is taught, and how.

    ``folder``: inside ComfyUI's input; each folder in it is a concept, named by its noun, or by noun and name as in
    ``dog - Rex``. ``priors``: how its class images are made; None makes none. ``general``: neurons computed elsewhere.
    ``captioner``: describes images without a caption; None leaves them to sentences that fit any.
    """

    folder: str
    config: TrainConfig
    priors: PriorConfig | None
    strategy: str
    general: Neurons | None = None
    captioner: Captioner | None = None


@dataclass(frozen=True, eq=False)
class _Material:
    """A folder of pictures, read. ``path``: as a state knows it, such as ``pets/dog - Rex``. A missing caption is empty."""

    path: str
    noun: str
    images: tuple[Tensor, ...]
    captions: tuple[str, ...]
    masks: tuple[Tensor | None, ...]
    report: str

    @property
    def name(self) -> str:
        return PurePath(self.path).name

    def called(self, number: int) -> str:
        """The ``number``-th image, as the captioner's messages call it."""
        return f"{number} of {self.name}"


def teach_folder(
    checkpoint: Checkpoint,
    course: Course,
    previous: CNSState | None,
    display: Display,
    on_state: Callable[[CNSState], None] = lambda state: None,
) -> tuple[CNSState, str]:
    """The state that knows all of the folder's concepts, and what was done, for people. ``on_state`` is called after each.

    All pictures are read before the first step. Obeys Cancel; what was taught by then is saved, and not taught again.

    Raises:
        CNSError: a folder that cannot be read, or what :func:`.teach.teach` raises.
    """
    check_unpatched(checkpoint)
    _check_wired(checkpoint, course.general, previous)
    state = previous or CNSState.empty(checkpoint.layout, checkpoint.fingerprint)
    known = {concept.settings.get("folder") for concept in state.concepts}
    names = {f"{course.folder}/{name}": name for name in subfolders(course.folder)}
    read = [_read(path, name, course.config.resolution) for path, name in names.items() if path not in known]
    lines = [f"- {len(names) - len(read)} of {len(names)} concepts in `{course.folder}` were already known"]
    if not read:
        on_state(state)
        return state, lines[0]
    materials = _described(read, course.captioner)
    progress = Progress(1, display.node_id)
    general = course.general or general_neurons(checkpoint, display.node_id)
    for number, material in enumerate(materials, start=1):
        progress.text(f"{number} of {len(materials)}: {material.name}")  # without the token: the page takes it for HTML
        state, figures = _teach(checkpoint, course, material, general, state, display)
        on_state(state)
        lines += [material.report, figures, autosaved(state)]
    return state, "\n".join([*lines, _saved_as(state, PurePath(course.folder).name)])


def known_state(folder: str, checkpoint: Checkpoint) -> CNSState | None:
    """The newest saved state that was last taught from this folder on this checkpoint."""
    for path in newest_states():
        settings = read_settings(path)
        if not settings or PurePath(str(settings[-1].get("folder", ""))).parent.as_posix() != folder:
            continue
        try:
            state = load_state(path)
            checkpoint.fingerprint.check_same(state.fingerprint, path.name)
        except CNSError:  # damaged, or of another checkpoint, which has a state of its own
            continue
        return state
    return None


def noun_of(name: str) -> str:
    """``dog - Rex`` -> ``dog``."""
    return check_noun(name.partition(" - ")[0])


def _check_wired(checkpoint: Checkpoint, general: Neurons | None, previous: CNSState | None) -> None:
    """Here, so that nobody waits for captions and prior images first."""
    if general is not None:
        check_kind(general, "general")
        checkpoint.fingerprint.check_same(general.fingerprint, GENERAL_MASK, SAME_MODEL)
    if previous is not None:
        checkpoint.layout.check_same(previous.layout, PREVIOUS)
        checkpoint.fingerprint.check_same(previous.fingerprint, PREVIOUS)


def _read(path: str, name: str, resolution: int) -> _Material:
    noun = noun_of(name)
    loaded = load_pictures(find_pictures(path), resolution, check_cancelled)
    images = tuple(image[0] for image in loaded.images)
    masks = tuple(None if mask is None else mask[0] for mask in loaded.masks)
    return _Material(path, noun, images, tuple(loaded.captions), masks, f"- `{name}`: {loaded.report.splitlines()[0]}")


def _described(materials: list[_Material], captioner: Captioner | None) -> list[_Material]:
    """With a caption for every image: its own, the captioner's, which is loaded once, or a sentence that fits any."""
    missing = {
        material.called(number): material.images[number - 1]
        for material in materials
        for number, caption in enumerate(material.captions, start=1)
        if not caption
    }
    made = captioner(missing) if captioner and missing else {}
    return [_with_captions(material, made) for material in materials]


def _with_captions(material: _Material, made: Mapping[str, str]) -> _Material:
    captions = [
        caption or made.get(material.called(number)) or undescribed(material.noun, number - 1)
        for number, caption in enumerate(material.captions, start=1)
    ]
    invented = [
        new
        for number, (old, new) in enumerate(zip(material.captions, captions, strict=True), start=1)
        if not old and material.called(number) not in made
    ]
    report = material.report
    if invented:
        report += (
            f"\n- `{material.name}`: pictures without a caption ({len(invented)}) get one such as '{invented[0]}'; describe "
            "them in text files beside them, or choose a captioner, to teach them better"
        )
    return replace(material, captions=tuple(captions), report=report)


def _teach(
    checkpoint: Checkpoint,
    course: Course,
    material: _Material,
    general: Neurons,
    state: CNSState,
    display: Display,
) -> tuple[CNSState, str]:
    concept = Concept(state.free_token(), material.noun, material.images, material.captions, material.masks)
    prior, line = Prior(), ""
    if course.priors is not None:
        prior, line = make_priors(checkpoint, concept.noun, CLASS_CONTEXTS, course.priors, display.node_id)
    base = compute_neurons(checkpoint, list(concept.descriptions), general.top_fraction, "base", display.node_id)
    config = replace(course.config, seed=course.config.seed + len(state.concepts))
    neurons = select_neurons(base, general, course.strategy, config.seed, state)
    taught, result = teach(checkpoint, Lesson(concept, neurons, prior, state, material.path), config, display)
    return taught, "\n".join(filter(None, [line and f"- {line}", training_figures(taught, result)]))


def _saved_as(state: CNSState, name: str) -> str:
    with SideEffect(f"The state was not saved as {name}") as saving:
        path = new_state_path(f"{STATES}/{name}")
        save_state(state, path)
        return f"- saved as `{path}`"
    return f"- {saving.failure}"
