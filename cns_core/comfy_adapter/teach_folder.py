"""Teaches a folder of folders: the concepts in it that no state knows yet, one after another, each saved when it is taught."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath

from torch import Tensor

from ..calibration import shipped_prompts
from ..concept import Concept, check_noun
from ..config import PriorConfig, SelectionConfig, TrainConfig
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
from .lesson import Lesson
from .neurons import Neurons, compute_neurons, draw_calibration, select_neurons
from .page.progress import Progress
from .page.training_progress import Display
from .pictures.folders import find_pictures, load_pictures, subfolders
from .prior import Prior
from .priors.priors import make_priors
from .side_effects import SideEffect
from .teach import teach

# Images by number, without captions -> theirs by number.
Captioner = Callable[[Mapping[int, Tensor]], Mapping[int, str]]


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
    """A folder of pictures, read. ``name``: as a state knows it, such as ``pets/dog - Rex``."""

    name: str
    noun: str
    images: tuple[Tensor, ...]
    captions: tuple[str, ...]
    masks: tuple[Tensor | None, ...]
    report: str


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
    state = previous or CNSState.empty(checkpoint.layout, checkpoint.fingerprint)
    known = {concept.settings.get("folder") for concept in state.concepts}
    names = {f"{course.folder}/{name}": name for name in subfolders(course.folder)}
    materials = [_read(path, name, course) for path, name in names.items() if path not in known]
    lines = [f"- {len(names) - len(materials)} of {len(names)} concepts in `{course.folder}` were known already"]
    if not materials:
        on_state(state)
        return state, lines[0]
    progress = Progress(1, display.node_id)
    general = course.general or _general_neurons(checkpoint, display.node_id)
    for number, material in enumerate(materials, start=1):
        progress.text(f"{number} of {len(materials)}: {material.name} as {state.free_token()} {material.noun}")
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


def _read(path: str, name: str, course: Course) -> _Material:
    noun = noun_of(name)
    loaded = load_pictures(find_pictures(path), course.config.resolution, check_cancelled)
    images = tuple(image[0] for image in loaded.images)
    missing = {number: images[number - 1] for number, caption in enumerate(loaded.captions, start=1) if not caption}
    made = course.captioner(missing) if course.captioner and missing else {n: undescribed(noun, n - 1) for n in missing}
    captions = tuple(made.get(number, caption) for number, caption in enumerate(loaded.captions, start=1))
    masks = tuple(None if mask is None else mask[0] for mask in loaded.masks)
    lines = [f"- `{name}`: {loaded.report.splitlines()[0]}"]
    if missing and not course.captioner:
        lines.append(
            f"- `{name}`: {len(missing)} without a caption get one such as '{captions[min(missing) - 1]}'; describe "
            "them in text files beside them, or choose a captioner, to teach them better"
        )
    return _Material(path, noun, images, captions, masks, "\n".join(lines))


def _general_neurons(checkpoint: Checkpoint, node_id: str | None) -> Neurons:
    config = SelectionConfig()
    return compute_neurons(checkpoint, draw_calibration(shipped_prompts(), config), config.top_fraction, "general", node_id)


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
    taught, result = teach(checkpoint, Lesson(concept, neurons, prior, state, material.name), config, display)
    return taught, "\n".join(filter(None, [line and f"- {line}", training_figures(taught, result)]))


def _saved_as(state: CNSState, name: str) -> str:
    with SideEffect(f"The state was not saved as {name}") as saving:
        path = new_state_path(f"{STATES}/{name}")
        save_state(state, path)
        return f"- saved as `{path}`"
    return f"- {saving.failure}"
