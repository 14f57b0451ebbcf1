"""Teaches a folder of folders: the concepts in it that no state knows yet, one after another, each saved when it is taught."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePath

from torch import Tensor

from ..concept import Concept, check_noun
from ..config import PriorConfig, TrainConfig
from ..contexts import CLASS_CONTEXTS, undescribed
from ..errors import CNSError
from ..figures import enlarged_figures, markdown_list, training_figures
from ..state import CNSState
from ..state_file import save_state
from .autosave import autosaved
from .checkpoint.checkpoint import Checkpoint
from .checkpoint.latents import check_masks
from .checkpoint.unpatched import check_unpatched
from .folders import STATES, new_state_path
from .interruptions import check_cancelled
from .lesson import PREVIOUS, Lesson
from .neurons import GENERAL_MASK, SAME_MODEL, Neurons, check_kind, compute_neurons, general_neurons, select_neurons
from .on_device import check_trainable
from .page.progress import Progress
from .page.training_progress import Display
from .pictures.folders import find_pictures, load_pictures, subfolders
from .prior import Prior
from .priors.priors import make_priors
from .side_effects import SideEffect
from .taught_folders import has_changed, is_of, source_of
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

    def config_after(self, earlier: int) -> TrainConfig:
        """Of the concept after so many earlier ones: each has a seed of its own."""
        return replace(self.config, seed=self.config.seed + earlier)


@dataclass(frozen=True, eq=False)
class _Material:
    """A folder of pictures, read. ``name``: such as ``dog - Rex``. A missing caption is empty."""

    name: str
    source: dict[str, str]
    noun: str
    images: tuple[Tensor, ...]
    captions: tuple[str, ...]
    masks: tuple[Tensor | None, ...]
    report: str

    def concept(self, token: str) -> Concept:
        return Concept(token, self.noun, self.images, self.captions, self.masks)

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

    All pictures are read, and their neurons found, before the first step. Obeys Cancel; what was taught by then is saved, and
    not taught again.

    Raises:
        CNSError: a folder that cannot be read, or what :func:`.teach.teach` raises.
    """
    check_unpatched(checkpoint)
    _check_wired(checkpoint, course.general, previous)
    state = previous or CNSState.empty(checkpoint.layout, checkpoint.fingerprint)
    sources = sources_of(course.folder)
    new, lines = _news(course.folder, sources, state)
    if not new:
        on_state(state)
        return state, "\n".join(lines)
    check_trainable(checkpoint)
    read = [_read(course.folder, name, sources[name], course.config.resolution) for name in new]
    materials = _described(read, course.captioner)
    progress = Progress(1, display.node_id)
    general = course.general or general_neurons(checkpoint, display.node_id)
    found = [
        _chosen(checkpoint, course, material, general, len(state.concepts) + number, display)
        for number, material in enumerate(materials)
    ]
    for number, (material, neurons) in enumerate(zip(materials, found, strict=True), start=1):
        progress.text(f"{number} of {len(materials)}: {material.name}")
        state, figures = _teach(checkpoint, course, material, neurons, state, display)
        on_state(state)
        lines += [material.report, figures, autosaved(state)]
    return state, "\n".join([*lines, _saved_as(state, PurePath(course.folder).name)])


def sources_of(folder: str) -> dict[str, dict[str, str]]:
    """By the name of each folder in it what settings say of its concept, see :func:`.taught_folders.source_of`."""
    return {name: source_of(f"{folder}/{name}") for name in subfolders(folder)}


def _news(folder: str, sources: Mapping[str, dict[str, str]], state: CNSState) -> tuple[list[str], list[str]]:
    """The folders whose concepts the state does not know, and lines for people about the others."""
    taught = [concept.settings for concept in state.concepts]
    known = {name: settings for name, source in sources.items() for settings in taught if is_of(settings, source)}
    lines = [f"- {len(known)} of {len(sources)} concepts in `{folder}` were already known"]
    changed = [name for name, settings in known.items() if has_changed(settings, sources[name])]
    if changed:
        lines.append(
            f"- not taught again, though pictures or captions have changed: `{'`, `'.join(changed)}`; turn start_over on to "
            "teach all folders again, or wire a state from Remove CNS Concept into previous_state"
        )
    elif len(known) == len(sources):
        lines[0] += "; to teach them again, turn start_over on"
    return [name for name in sources if name not in known], lines


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


@contextmanager
def _about(name: str) -> Iterator[None]:
    """Errors say which folder they are about."""
    try:
        yield
    except CNSError as error:
        raise CNSError(f"{name}: {error}") from error


def _read(folder: str, name: str, source: dict[str, str], resolution: int) -> _Material:
    with _about(name):
        noun = noun_of(name)
        loaded = load_pictures(find_pictures(f"{folder}/{name}"), resolution, check_cancelled)
    images = tuple(image[0] for image in loaded.images)
    masks = tuple(None if mask is None else mask[0] for mask in loaded.masks)
    report = markdown_list([f"`{name}`: {line}" for line in loaded.report.splitlines()])
    enlarged = enlarged_figures({"concept": images}, resolution)
    return _Material(name, source, noun, images, tuple(loaded.captions), masks, "\n".join(filter(None, [report, enlarged])))


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


def _chosen(
    checkpoint: Checkpoint, course: Course, material: _Material, general: Neurons, earlier: int, display: Display
) -> Neurons:
    """The neurons that its concept trains, which comes after so many ``earlier`` ones."""
    with _about(material.name):
        concept, config = material.concept("<new>"), course.config_after(earlier)
        check_masks(concept, config)
        base = compute_neurons(checkpoint, list(concept.descriptions), general.top_fraction, "base", display.node_id)
        return select_neurons(base, general, course.strategy, config.seed)


def _teach(
    checkpoint: Checkpoint,
    course: Course,
    material: _Material,
    neurons: Neurons,
    state: CNSState,
    display: Display,
) -> tuple[CNSState, str]:
    prior, line = Prior(), ""
    with _about(material.name):
        if course.priors is not None:
            prior, line = make_priors(checkpoint, material.noun, CLASS_CONTEXTS, course.priors, display.node_id)
        lesson = Lesson(material.concept(state.free_token()), neurons, prior, state, material.source)
        taught, result = teach(checkpoint, lesson, course.config_after(len(state.concepts)), display)
    return taught, "\n".join(filter(None, [line and f"- {line}", training_figures(taught, result)]))


def _saved_as(state: CNSState, name: str) -> str:
    with SideEffect(f"The state was not saved as {name}") as saving:
        path = new_state_path(f"{STATES}/{name}")
        save_state(state, path)
        return f"- saved as `{path}`"
    return f"- {saving.failure}"
