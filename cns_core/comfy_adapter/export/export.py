"""A state in files that other programs read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import comfy.sd
import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from ...atomic_write import replacing
from ...errors import CNSError, brief
from ...state import CNSState
from ..apply.apply import apply_state
from ..checkpoint.checkpoint import Checkpoint
from ..folders import SUFFIX
from .folder import token_words
from .tensors import diffusers_names, kv_weights, largest_error, lora


@dataclass(frozen=True, eq=False)
class Export:
    """What is exported, and to where. ``dtype``: of the weights in the file; tokens are always float32."""

    checkpoint: Checkpoint
    state: CNSState
    dtype: torch.dtype
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    def path(self, stem: str) -> Path:
        return self.folder / f"{stem}{SUFFIX}"


def export_state(
    checkpoint: Checkpoint, state: CNSState, target: str, dtype: torch.dtype, new_folder: Callable[[], Path]
) -> tuple[Path, list[str]]:
    """Writes the state's weights for ``target``, one of :data:`TARGETS`, and each token, into a folder that is made for them.

    Returns the folder, and lines for people: the files, how far they are from what Apply CNS State does, and how prompts call
    the concepts.

    Raises:
        CNSError: unknown target, an empty state or one of another checkpoint, a LoRA on it, no VAE for a checkpoint, a folder
            that cannot be written.
    """
    if target not in TARGETS:
        raise CNSError(f"There is no target '{target}': choose one of {', '.join(TARGETS)}.")
    if not state.concepts:
        raise CNSError("The state wired in holds no concepts, so there is nothing to export: wire Train or Load CNS State.")
    checkpoint.layout.check_same(state.layout, "The state")
    checkpoint.fingerprint.check_same(state.fingerprint, "The state")
    if checkpoint.model.patches or checkpoint.clip.patcher.patches:
        raise CNSError(
            "The MODEL or CLIP wired in carries patches (a LoRA or a merge), which only some of the files would hold: wire the "
            "checkpoint loader's outputs here."
        )
    if target == CHECKPOINT and checkpoint.vae is None:
        raise CNSError("A checkpoint holds a VAE as well: wire the checkpoint loader's VAE into vae.")
    export = Export(checkpoint, state, dtype, new_folder())
    try:
        return export.folder, [TARGETS[target](export), *_tokens(export)]
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or brief(error)
        raise CNSError(f"{export.folder} could not be written: {reason}. Make room there.") from error
    finally:
        with contextlib.suppress(OSError):  # the folder has files in it, unless something failed
            export.folder.rmdir()


def _lora(export: Export) -> str:
    tensors = lora(export.state, diffusers_names(export.checkpoint.model))
    metadata = {
        "ss_network_module": "lycoris.kohya",
        "ss_network_args": json.dumps({"algo": "full"}),
        "ss_base_model_version": "sd_v1-5",
        "ss_output_name": export.name,
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.implementation": "https://github.com/KohakuBlueleaf/LyCORIS",
        "modelspec.title": export.name,
    }
    return f"LoRA (LyCORIS full): {_weights(export, export.name, tensors, metadata)}"


def _diffusers(export: Export) -> str:
    tensors = kv_weights(export.state, export.checkpoint.weights, diffusers_names(export.checkpoint.model))
    return f"K and V for diffusers' UNet: {_weights(export, f'{export.name}_unet', tensors, {'format': 'pt'})}"


def _weights(export: Export, stem: str, tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    """Writes float32 weights in the precision asked for, and says what that costs."""
    path = export.path(stem)
    _write(path, save({name: exact.to(export.dtype) for name, exact in tensors.items()}, metadata))
    error = max(largest_error(exact, export.dtype) for exact in tensors.values())
    exactness = f"differ from Apply CNS State's by at most {error:.1e}" if error else "are exactly Apply CNS State's"
    return f"{_file(path)}, {len(tensors)} matrices; the weights {exactness}"


def _checkpoint(export: Export) -> str:
    path = export.path(export.name)
    checkpoint, metadata = export.checkpoint, {"modelspec.title": export.name}
    applied, _ = apply_state(checkpoint, export.state, 1.0)
    with replacing(path) as temporary:
        comfy.sd.save_checkpoint(str(temporary), applied, checkpoint.clip, checkpoint.vae, metadata=metadata)
    return f"checkpoint: {_file(path)}, the weights as Apply CNS State makes them"


def _tokens(export: Export) -> list[str]:
    words = token_words(export.name, export.state.tokens)
    lines = []
    for concept in export.state.concepts:
        path = export.path(words[concept.token])
        _write(path, save({concept.token: concept.vectors.contiguous()}))
        lines.append(
            f"token: {_file(path)}; for {concept.name} write 'embedding:{path.stem} {concept.noun}' in ComfyUI, "
            f"'{path.stem} {concept.noun}' in Forge and A1111, '<{path.stem}> {concept.noun}' in InvokeAI, "
            f"'{concept.name}' in diffusers"
        )
    return lines


def _write(path: Path, blob: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(blob)


def _file(path: Path) -> str:
    size = path.stat().st_size
    return f"{path} ({size / 1e6:.1f} MB)" if size >= 1e5 else f"{path} ({size / 1e3:.1f} kB)"


CHECKPOINT = "checkpoint"
TARGETS: dict[str, Callable[[Export], str]] = {
    "LoRA": _lora,
    "diffusers": _diffusers,
    CHECKPOINT: _checkpoint,
}
