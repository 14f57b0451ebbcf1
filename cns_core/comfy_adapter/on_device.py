"""UNet and text encoder, whole on their devices, with memory for a training's activations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import comfy.model_management as memory
import torch
from comfy.model_patcher import ModelPatcher

from ..config import TrainConfig
from ..errors import CNSError
from ..training.checkpointing import checkpointed
from ..training.frozen import lean_convolutions
from ..training.keep_term import Held, bytes_of
from .checkpoint.checkpoint import Checkpoint
from .checkpoint.checks import check_storage
from .checkpoint.normal_tensors import normal_tensors, out_of_place_norms
from .checkpoint.prediction import compute_dtype
from .static_copies import static_copies

GRADIENT_CHECKPOINTING = ("auto", "on", "off")

# Activations a step keeps for its backward pass, per sample at 512 px in 16-bit precision, without and with checkpointing:
# 0.63 GB and 0.09 GB by benchmarks/performance/activations.py, and 0.75 GB for what comes and goes within a block.
_KEPT_BYTES, _KEPT_BYTES_CHECKPOINTED = 1.38e9, 0.84e9
# The same of attention's matrices where no fused kernel does without them, by the same benchmark; with checkpointing one of the
# largest at a time, 8 heads x 4096 x 4096, and its gradient. They grow with the square of the pixels.
_ATTENTION_BYTES, _ATTENTION_BYTES_CHECKPOINTED = 1.12e9, 0.54e9


@dataclass(frozen=True, eq=False)
class OnDevice:
    """``dtype``: what the UNet computes in. ``recompute``: whether activations are recomputed to save memory."""

    unet: ModelPatcher
    text: ModelPatcher
    dtype: torch.dtype
    recompute: bool

    @contextmanager
    def differentiable(self) -> Iterator[None]:
        """Lets autograd through both; both are restored afterwards, even after an error."""
        text_dtype = torch.float32 if self.text.load_device.type == "cpu" else None  # ComfyUI stores it in 16 bits even there
        with (
            normal_tensors(self.unet.model),
            normal_tensors(self.text.model, dtype=text_dtype),
            out_of_place_norms(self.text.model),
            lean_convolutions(self.unet.model.diffusion_model),
            checkpointed(self.unet.model.diffusion_model, self.recompute),
        ):
            yield


def load_for_training(checkpoint: Checkpoint, config: TrainConfig, samples: int, held: Sequence[Held] = ()) -> OnDevice:
    """Puts the checkpoint on its devices for steps of so many samples. ``held``: by the keep term.

    Raises:
        CNSError: ComfyUI keeps it elsewhere, or cannot load it whole.
    """
    unet, text = static_copies.of(checkpoint)
    recompute = recomputes(unet, config, samples)
    needed = _bytes_of_a_step(unet, config, samples, recompute) + bytes_of(held, checkpoint.layout.size)
    memory.load_models_gpu([unet, text], memory_required=needed, force_full_load=True)
    _check_loaded(unet)
    return OnDevice(unet, text, compute_dtype(unet.model), recompute)


def check_trainable(checkpoint: Checkpoint) -> None:
    """Raises CNSError where a training could not work on its device, or its result could not be applied."""
    check_storage(checkpoint.weights)
    device, half = checkpoint.model.load_device, compute_dtype(checkpoint.model.model) == torch.float16
    if device.type == "privateuseone":
        raise CNSError(
            "Training does not run on DirectML, where PyTorch cannot scale gradients: use PyTorch for CUDA or ROCm, or start "
            "ComfyUI with --cpu. Apply CNS State works on DirectML."
        )
    if device.type == "xpu" and half and not torch.xpu.get_device_properties(device).has_fp64:
        raise CNSError(
            "Training in float16 does not run on this Intel GPU, as PyTorch scales gradients with 64-bit numbers there: start "
            "ComfyUI with --bf16-unet."
        )
    if device.type == "mps" and half and tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 8):
        raise CNSError(
            "Training in float16 on a Mac needs PyTorch 2.8 or newer: update it, or start ComfyUI with --force-fp32."
        )


def _bytes_of_a_step(unet: ModelPatcher, config: TrainConfig, samples: int, recompute: bool) -> int:
    dtype, stored = compute_dtype(unet.model), unet.model.get_dtype()
    side, size = config.resolution / 512, samples * dtype.itemsize / 2
    needed = size * side**2 * (_KEPT_BYTES_CHECKPOINTED if recompute else _KEPT_BYTES)
    if not _has_fused_attention(unet.load_device):
        needed += size * side**4 * (_ATTENTION_BYTES_CHECKPOINTED if recompute else _ATTENTION_BYTES)
    if dtype != stored and not recompute:  # the backward pass reads every weight as it was cast
        needed += unet.model_size() / stored.itemsize * dtype.itemsize
    return int(needed)


def _has_fused_attention(device: torch.device) -> bool:
    """One with gradients; ComfyUI knows which AMD cards have it."""
    return device.type not in ("mps", "xpu") and (torch.version.hip is None or memory.pytorch_attention_enabled())


def _check_loaded(unet: ModelPatcher) -> None:
    device = unet.load_device
    if any(parameter.device.type != device.type for parameter in unet.model.diffusion_model.parameters()):
        raise CNSError(
            "ComfyUI keeps the UNet off the device, as with --novram, but training needs it there: start it without --novram."
        )


def recomputes(unet: ModelPatcher, config: TrainConfig, samples: int) -> bool:
    """Whether steps of so many samples compute activations again in the backward pass, to save memory."""
    choice = config.gradient_checkpointing
    if choice not in GRADIENT_CHECKPOINTING:
        raise CNSError(f"gradient_checkpointing is '{choice}': choose one of {', '.join(GRADIENT_CHECKPOINTING)}.")
    if choice != "auto":
        return choice == "on"
    total = cast(int, memory.get_total_memory(unet.load_device))
    budget = total - unet.model_size() - memory.minimum_inference_memory()
    return _bytes_of_a_step(unet, config, samples, recompute=False) > budget


def less_memory(unet: ModelPatcher, config: TrainConfig, samples: int) -> str:
    """What a user can do for a training that needs less of it."""
    remedies = ["lower resolution"]
    if config.batch_size > 1:
        remedies.insert(0, "lower batch_size")
    if not recomputes(unet, config, samples):
        remedies.insert(0, "set gradient_checkpointing (under Show Advanced) to on")
    return ", ".join(remedies)
