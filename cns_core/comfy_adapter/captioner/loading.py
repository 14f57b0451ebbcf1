"""Loads an image-to-text model of any kind that transformers has built in. Code that comes with a model never runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import comfy.model_management as memory
import torch

from ...errors import CNSError
from ..model_folder import check_weights
from .model import CaptioningModel

_LOCAL = {"local_files_only": True, "trust_remote_code": False}
_MISSING = 0.01  # share of the weights a file may lack: some have no pooler, which captions do not need


def load_captioner(folder: Path, device: torch.device) -> CaptioningModel:
    """The model on ``device``, with room made for it there.

    Raises:
        CNSError: transformers does not have this kind built in, or its files are not all there.
        Exception: of any kind, from transformers.
    """
    from transformers import AutoModelForImageTextToText  # takes seconds: only a user who captions pays for it

    config = _config(folder)
    check_weights(folder)
    processor, tokenizer = _processor(folder)
    dtype_key = "dtype" if hasattr(config, "dtype") else "torch_dtype"  # the latter until transformers 4.55
    dtype = _dtype(getattr(config, dtype_key), device)
    loaded: Any = AutoModelForImageTextToText.from_pretrained(  # a pair, which its types do not say
        folder, use_safetensors=True, output_loading_info=True, **{dtype_key: dtype}, **_LOCAL
    )
    model, loading = loaded
    _check_complete(folder, model, loading["missing_keys"])
    memory.free_memory(memory.module_size(model) * 1.2, device)
    return CaptioningModel(model.eval().to(device), processor, tokenizer, dtype)


def _processor(folder: Path) -> tuple[Any, Any]:
    """What prepares pictures and prompts, and the tokenizer, which may be a part of it."""
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

    try:
        processor: Any = AutoProcessor.from_pretrained(folder, **_LOCAL)
        if hasattr(processor, "image_processor"):
            return processor, processor.tokenizer
        # vision encoder-decoders have none that joins the two
        return AutoImageProcessor.from_pretrained(folder, **_LOCAL), AutoTokenizer.from_pretrained(folder, **_LOCAL)
    except ValueError as error:
        if "trust_remote_code" in str(error):
            raise _needs_code(folder) from error
        raise


def _config(folder: Path) -> Any:
    from transformers import CONFIG_MAPPING, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, AutoConfig, __version__

    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kind = settings.get("model_type")
    config = AutoConfig.from_pretrained(folder, **_LOCAL) if kind in CONFIG_MAPPING else None
    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return config
    if "auto_map" in settings:
        raise _needs_code(folder)
    if config is None:
        raise CNSError(
            f"transformers {__version__} does not know the model type '{kind}' of {folder}: update transformers, or choose "
            "another captioner."
        )
    raise CNSError(f"{folder} is a model of type '{kind}', which does not describe images: choose another captioner.")


def _needs_code(folder: Path) -> CNSError:
    return CNSError(
        f"{folder} needs program code of its own, which is never run: choose a captioner that transformers has built in."
    )


def _check_complete(folder: Path, model: Any, missing: Iterable[str]) -> None:
    """transformers only warns of weights it did not find, and a model with random ones captions nonsense."""
    sizes = {name: value.numel() for name, value in model.state_dict().items()}
    lacking = sum(sizes.get(name, 0) for name in missing) / sum(sizes.values())
    if lacking > _MISSING:
        raise CNSError(
            f"{lacking:.0%} of the weights of {folder} are not in its files, or not under the names that transformers' "
            f"{type(model).__name__} gives them: get a version made for transformers, or choose another captioner."
        )


def _dtype(saved: torch.dtype | None, device: torch.device) -> torch.dtype:
    """16 bits where the device computes in them; a model made in bfloat16 can overflow in float16."""
    if saved == torch.bfloat16:
        return torch.bfloat16 if memory.should_use_bf16(device) else torch.float32
    return torch.float16 if memory.should_use_fp16(device) else torch.float32
