"""Format 1 of a CNS state on disk: one ``.safetensors`` file that describes itself.

Tensors: ``union`` (uint8, the mask of all touched weights, bit-packed over the flat K/V vector), ``values`` (float32, the
delta at those weights), and for concept i ``concept.i.mask`` (uint8, bit-packed over the *union's* weights, so that a
concept costs union / 8 bytes) and ``concept.i.vectors`` (float32). With a history also ``concept.i.before`` (float32, see
:class:`.state.LearnedConcept`). Metadata: ``format``, ``format_version``, ``layout``, ``fingerprint``, ``concepts`` and
``lineage`` (:func:`lineage_of`) as JSON. Older files have no history, no ``lineage``, and no ``text_encoder`` and
``clip_skip`` in their fingerprint; older readers pass over them.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .atomic_write import replacing
from .drift import MEASURED_FROM, OFF
from .errors import CNSError
from .fingerprint import Fingerprint, Projections
from .kv_layers import KVLayout
from .masks import NeuronMask
from .sparse_delta import SparseDelta
from .state import CNSState, LearnedConcept

FORMAT = "cns_state"
FORMAT_VERSION = 1
_T = TypeVar("_T")
_ANOTHER = "Copy it again from where it came from, or load an earlier state."


def save_state(state: CNSState, path: Path) -> None:
    """Writes the state atomically: ``path`` is either untouched or complete. Removes what killed processes left beside it.

    Raises:
        CNSError: the folder cannot be written.
    """
    blob = save(_tensors(state), metadata=_metadata(state))
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(blob)
    except OSError as error:
        raise CNSError(
            f"The state could not be written to {path}: {error.strerror or error}. Make room there, or give Save CNS State "
            "another filename_prefix."
        ) from error


def load_state(path: Path) -> CNSState:
    """Reads a state.

    Raises:
        CNSError: missing, cut short, not a CNS state, of a newer format, or inconsistent.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            _check_format(path.name, metadata)  # before a whole checkpoint is read for nothing
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except FileNotFoundError as error:
        raise CNSError(f"There is no state file {path}.") from error
    except OSError as error:
        raise CNSError(f"{path} could not be read: {error.strerror or error}.") from error
    except SafetensorError as error:
        raise CNSError(f"{path.name} is cut short or is not a .safetensors file: save or copy it again.") from error
    try:
        return _state(metadata, tensors)
    except CNSError as error:
        raise CNSError(f"{path.name} is damaged: {error} {_ANOTHER}") from error
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, RecursionError) as error:  # JSON can hold anything
        raise CNSError(f"{path.name} is damaged: {type(error).__name__} {error}. {_ANOTHER}") from error


def _check_format(name: str, metadata: dict[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise CNSError(f"{name} is a .safetensors file, but not a CNS state: choose one that Save CNS State wrote.")
    version = metadata.get("format_version", "")
    if version not in map(str, range(1, FORMAT_VERSION + 1)):
        raise CNSError(
            f"{name} has state format {version[:20]!r}, but this version of the pack reads up to {FORMAT_VERSION}: update the "
            "pack."
        )


def lineage_of(state: CNSState) -> tuple[str, ...]:
    """For each concept a digest of the checkpoint and of all that was taught up to it.

    One state continues another if its lineage begins with the other's.
    """
    digest, lineage = hashlib.sha256(json.dumps(_fingerprint_record(state.fingerprint)).encode()), []
    for concept, record in zip(state.concepts, _records(state), strict=True):
        digest.update(json.dumps(record).encode())
        digest.update(concept.mask.bits.tobytes())
        digest.update(concept.vectors.numpy().tobytes())
        lineage.append(digest.hexdigest())
    return tuple(lineage)


def read_lineage(path: Path) -> tuple[str, ...]:
    """The lineage written in a file; empty where there is none, or the file is no state that can be read."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return tuple(json.loads(metadata.get("lineage", "[]")))
    except (OSError, SafetensorError, ValueError, TypeError, RecursionError):
        return ()


def read_settings(path: Path) -> list[dict[str, Any]]:
    """The settings each concept in a file was taught with; none where the file is no state that can be read."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return [dict(record["settings"]) for record in json.loads(metadata.get("concepts", "[]"))]
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RecursionError):
        return []


def _tensors(state: CNSState) -> dict[str, torch.Tensor]:
    positions = state.delta.mask.flat()
    tensors = {
        "union": torch.from_numpy(state.delta.mask.bits.copy()),
        "values": state.delta.values.contiguous(),
    }
    for index, concept in enumerate(state.concepts):
        within_union = np.packbits(concept.mask.flat()[positions])
        tensors[f"concept.{index}.mask"] = torch.from_numpy(within_union)
        tensors[f"concept.{index}.vectors"] = concept.vectors.contiguous()
        if concept.before is not None:
            tensors[f"concept.{index}.before"] = concept.before.contiguous()
    return tensors


def _records(state: CNSState) -> list[dict[str, object]]:
    return [
        {
            "token": concept.token,
            "noun": concept.noun,
            "prompts": list(concept.prompts),
            "settings": concept.settings,
            "figures": concept.figures,
        }
        for concept in state.concepts
    ]


def _metadata(state: CNSState) -> dict[str, str]:
    return {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "layout": json.dumps(state.layout.shapes()),
        "fingerprint": json.dumps(_fingerprint_record(state.fingerprint)),
        "concepts": json.dumps(_records(state)),
        "lineage": json.dumps(lineage_of(state)),
    }


def _state(metadata: dict[str, str], tensors: dict[str, torch.Tensor]) -> CNSState:
    layout = _layout(_typed(json.loads(metadata["layout"]), dict, "layout"))
    union = NeuronMask(layout, tensors["union"].numpy())
    positions = np.flatnonzero(union.flat())
    concepts = []
    for index, record in enumerate(_typed(json.loads(metadata["concepts"]), list, "list of concepts")):
        packed = tensors[f"concept.{index}.mask"].numpy()
        if packed.size != (len(positions) + 7) // 8:
            raise CNSError(f"the mask of concept {index + 1} has {packed.size} bytes for {len(positions)} weights.")
        flat = np.zeros(layout.size, dtype=bool)
        flat[positions] = np.unpackbits(packed, count=len(positions)).view(bool)
        concepts.append(
            LearnedConcept(
                token=_text(record["token"], "token"),
                noun=_text(record["noun"], "noun"),
                mask=NeuronMask.from_flat(layout, flat),
                vectors=tensors[f"concept.{index}.vectors"],
                prompts=tuple(_text(prompt, "prompt") for prompt in _typed(record["prompts"], list, "list of prompts")),
                settings=_typed(record["settings"], dict, "record of settings"),
                figures=_figures(_typed(record["figures"], dict, "record of figures")),
                before=tensors.get(f"concept.{index}.before"),
            )
        )
    return CNSState(
        layout,
        _fingerprint(_typed(json.loads(metadata["fingerprint"]), dict, "fingerprint")),
        SparseDelta(union, tensors["values"]),
        tuple(concepts),
    )


def _figures(record: dict[str, Any]) -> dict[str, Any]:
    """Checks those that later calculations use: how far others were after the training, and the concept after a removal."""
    for name, share in _typed(record.get(OFF, {}), dict, "record of what moved").items():
        _text(name, "name of what moved")
        _finite(share)
    if MEASURED_FROM in record:
        start = _typed(record[MEASURED_FROM], list, "record of a removal")
        if len(start) != 2 or _typed(start[0], int, "number of concepts after a removal") < 0:
            raise CNSError("its record of a removal is not a number of concepts and a share.")
        if start[1] is not None:
            _finite(start[1])
    return record


def _finite(share: object) -> None:
    if not math.isfinite(_typed(share, float, "share that moved")):
        raise CNSError("its record of what moved holds NaN or infinity.")


def _fingerprint_record(fingerprint: Fingerprint) -> dict[str, object]:
    record = {**_projections_record(fingerprint.kv), "name": fingerprint.name}
    if fingerprint.text is not None:
        record["text_encoder"] = _projections_record(fingerprint.text)
    if fingerprint.clip_skip is not None:
        record["clip_skip"] = fingerprint.clip_skip
    return record


def _projections_record(projections: Projections) -> dict[str, object]:
    return {"values": projections.values, "precision": projections.precision}


def _fingerprint(record: dict[str, Any]) -> Fingerprint:
    text, skip = record.get("text_encoder"), record.get("clip_skip")
    return Fingerprint(
        _projections(record),
        None if text is None else _projections(text),
        None if skip is None else _typed(skip, int, "CLIP skip"),
        _text(record.get("name", ""), "checkpoint's name"),
    )


def _projections(record: dict[str, Any]) -> Projections:
    values, precision = tuple(map(float, _typed(record["values"], list, "fingerprint"))), float(record["precision"])
    if not all(map(math.isfinite, (*values, precision))):
        raise CNSError("its fingerprint holds NaN or infinity.")
    return Projections(values, precision)


def _layout(shapes: dict[str, Any]) -> KVLayout:
    if not shapes:
        raise CNSError("its layout names no K/V matrices.")
    for name, shape in shapes.items():
        if not (isinstance(shape, list) and len(shape) == 2 and all(type(side) is int and side > 0 for side in shape)):
            raise CNSError(f"the K/V matrix {_text(name, 'layer')!r} has no shape of two positive whole numbers.")
    return KVLayout.from_shapes({name: (rows, columns) for name, (rows, columns) in shapes.items()})


def _text(value: object, what: str) -> str:
    """Text that can be written and shown: JSON can hold half of a character (a lone surrogate)."""
    text = _typed(value, str, what)
    text.encode()
    return text


def _typed(value: Any, kind: type[_T], what: str) -> _T:
    if type(value) is not kind:
        raise CNSError(f"its {what} is of type {type(value).__name__} where {kind.__name__} is needed.")
    return value
