"""Trainings that were stopped, in files beside the autosaved states, to go on from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..atomic_write import replacing
from ..config import TrainConfig
from ..errors import CNSError
from ..state import CNSState
from ..state_file import lineage_of
from ..training import Snapshot
from .autosave import folder, title
from .checkpoint.checkpoint import Checkpoint, digest
from .lesson import Lesson

SUFFIX = ".unfinished"  # not .safetensors, which Load CNS State lists
_FORMAT = "cns_training 4"


@dataclass(frozen=True)
class Unfinished:
    """The file of one training. ``depends_on``: all that makes its steps what they are, JSON by what people call it."""

    path: Path
    name: str
    depends_on: dict[str, object]

    @staticmethod
    def of(checkpoint: Checkpoint, lesson: Lesson, state: CNSState, config: TrainConfig) -> Unfinished:
        """Of the training of ``lesson`` on ``state``."""
        concept, prior, settings = lesson.concept, lesson.prior, config.to_dict()
        del settings["steps"], settings["gradient_checkpointing"]  # no step depends on how many there will be, or on its memory
        names = [*(learned.name for learned in state.concepts), concept.name]
        depends_on = {
            "pictures": _digest(concept.images),
            "masks": _digest([torch.empty(0) if mask is None else mask for mask in concept.masks]),
            "captions": list(concept.captions),
            "class pictures": _digest(prior.images),
            "class prompts": list(prior.prompts),
            "neurons": _digest([torch.from_numpy(lesson.neurons.mask.bits.copy())]),
            "calibration prompts": list(lesson.neurons.calibration),
            "previous state": [*lineage_of(state)[-1:], _digest([state.delta.values])],
            "checkpoint": digest(checkpoint),  # not the fingerprint, whose last digits depend on the device
            "settings": settings,
        }
        return Unfinished(folder() / f"{title(names)}{SUFFIX}", concept.name, _plain(depends_on))

    def save(self, snapshot: Snapshot) -> None:
        """Raises OSError where the folder cannot be written."""
        metadata = {"format": _FORMAT, "steps": str(snapshot.steps), "depends_on": json.dumps(self.depends_on)}
        with replacing(self.path) as temporary:
            temporary.write_bytes(save(dict(snapshot.tensors), metadata))

    def load(self, steps: int) -> Snapshot | None:
        """What was kept of this training; None where nothing was. ``steps``: how many it is to have.

        Raises:
            CNSError: what was kept is of a training that differs from this one, has more steps, is of another version of the
                pack, or cannot be read.
        """
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                done, depended_on = int(metadata["steps"]), json.loads(metadata["depends_on"])
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a mapping)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise CNSError(f"{self.path} cannot be read ({error}): delete it, and the training starts over.") from error
        if metadata.get("format") != _FORMAT:
            raise CNSError(f"{self.path} was kept by another version of this pack: delete it, and the training starts over.")
        differences = _differences(depended_on, self.depends_on)
        if differences:
            raise CNSError(
                f"The training of {self.name} that was stopped after {done} steps differs from this one in "
                f"{', '.join(differences)}. Set them back to go on with it, or delete {self.path} to start over."
            )
        if done > steps:
            raise CNSError(
                f"The training of {self.name} that was stopped has done {done} steps already: set steps to {done} or more to "
                f"go on with it, or delete {self.path} to start over."
            )
        return Snapshot(done, tensors)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def _differences(before: dict[str, object], now: dict[str, object]) -> list[str]:
    """What differs, in words; of the settings each with its value then."""
    found = []
    for name in now:
        old, new = before.get(name), now[name]
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict) and name == "settings":
            found += [f"{key} ({old.get(key)}, now {new[key]})" for key in new if old.get(key) != new[key]]
        else:
            found.append(name)
    return found


def _digest(tensors: Iterable[Tensor]) -> str:
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(str((tuple(tensor.shape), tensor.dtype)).encode())
        found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())  # numpy has no bfloat16
    return found.hexdigest()


def _plain(record: Mapping[str, object]) -> dict[str, object]:
    """As it comes back from a file."""
    return json.loads(json.dumps(record))
