"""Image captioning with transformers models kept under ComfyUI's ``models/captioners``."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import comfy.model_management as memory
import folder_paths
import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from ..errors import CNSError
from .out_of_memory import out_of_memory
from .progress import check_cancelled

logger = logging.getLogger(__name__)

FOLDER = "captioners"
# Folder name -> repository and download size; the first is the default.
KNOWN = {
    "blip-image-captioning-large": ("Salesforce/blip-image-captioning-large", "1.9 GB"),
    "blip2-opt-2.7b": ("Salesforce/blip2-opt-2.7b", "15 GB"),
}
NONE = "none (given captions only)"
_MAX_NEW_TOKENS = 40
_WANTED_FILES = ["*.json", "*.txt", "*.safetensors"]


def captioner_names() -> list[str]:
    """The known models, and every model folder a user put there."""
    own = [name for root in _roots() for name in _entries(root) if not name.startswith(".") and _is_model(root / name)]
    return list(dict.fromkeys([*KNOWN, *own, NONE]))


def _entries(root: Path) -> list[str]:
    try:
        return sorted(os.listdir(root))
    except OSError:
        return []


def caption_images(
    images: Sequence[Tensor],
    name: str,
    download: bool,
    on_image: Callable[[], None] = lambda: None,
    on_download: Callable[[str], None] = lambda text: None,
) -> list[str]:
    """One caption for each image (height, width, 3) in 0..1; greedy, so the same image gives the same caption.

    Raises:
        CNSError: the model is not there and may not be downloaded, or is not an image-to-text model.
    """
    folder, captions = _model_folder(name, download, on_download), []
    device = memory.get_torch_device()
    dtype = torch.float16 if memory.should_use_fp16(device) else torch.float32
    try:
        processor, model = _load(folder)
        model = model.to(dtype).eval()
        memory.free_memory(memory.module_size(model) * 1.2, device)
        model = model.to(device)
        for image in images:
            picture = Image.fromarray((image.clamp(0, 1).cpu().numpy() * 255).round().astype(np.uint8))
            inputs = processor(images=picture, return_tensors="pt").to(device, dtype)
            output = model.generate(**inputs, max_new_tokens=_MAX_NEW_TOKENS, do_sample=False)
            captions.append(processor.batch_decode(output, skip_special_tokens=True)[0].strip())
            on_image()
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise CNSError(
            f"There is not enough memory for the captioning model {name}: choose a smaller one, or write the captions by hand."
        ) from error
    return captions


def _load(folder: Path) -> tuple[Any, Any]:
    """Processor and model."""
    # transformers takes seconds to import: only a user who captions pays for it
    from transformers import AutoModelForImageTextToText, AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        return processor, AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CNSError(
            f"{folder} does not hold a captioning model that transformers can load: {error} Remove the folder and download it "
            "again, or choose another captioner."
        ) from error


def _roots() -> list[Path]:
    return [Path(path) for path in folder_paths.get_folder_paths(FOLDER)]


def _is_model(path: Path) -> bool:
    return os.path.isfile(path / "config.json")  # unlike Path.is_file, False where the folder may not be read


def _model_folder(name: str, download: bool, on_download: Callable[[str], None]) -> Path:
    for root in _roots():
        if _is_model(root / name):
            return root / name
    target = _roots()[0] / name
    if name not in KNOWN:
        raise CNSError(f"There is no captioning model '{name}' in {_roots()[0]}: choose another, or put its folder there.")
    if target.exists():
        raise CNSError(f"{target} has no config.json, so the model is incomplete: put the missing files there or remove it.")
    repository, size = KNOWN[name]
    if not download:
        raise CNSError(
            f"The captioning model {repository} is not in {target}: turn on download_captioner to fetch it ({size}), "
            "put its files there yourself, or write the captions by hand."
        )
    return _download(repository, size, target, on_download)


def _download(repository: str, size: str, target: Path, on_download: Callable[[str], None]) -> Path:
    from huggingface_hub import snapshot_download

    unfinished = target.with_name(f".{target.name}.download")  # kept when interrupted, so that the next try resumes
    logger.info("Downloading %s to %s", repository, target)

    def report() -> None:
        on_download(f"downloading to {target}: {_bytes_in(unfinished) / 1e9:.2f} of about {size}")

    def download() -> None:
        snapshot_download(repository, local_dir=unfinished, allow_patterns=_WANTED_FILES)
        if not any(unfinished.glob("*.safetensors")):
            raise CNSError(f"{repository} has no .safetensors weights, and no other kind is loaded: choose another captioner.")
        unfinished.rename(target)

    error = _failure_of(download, report)
    if isinstance(error, CNSError):
        raise error
    if error is not None:  # of whatever kind: those of the network are the download libraries' own
        raise CNSError(
            f"{repository} could not be downloaded to {target}: {error} Check the network, or put its files there yourself."
        ) from error
    return target


def _bytes_in(folder: Path) -> int:
    sizes = 0
    for root, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):  # finished files are renamed
                sizes += os.path.getsize(os.path.join(root, name))
    return sizes


def _failure_of(work: Callable[[], object], report: Callable[[], None]) -> Exception | None:
    """Does it in a thread, so that Cancel is heard at once; what the thread has begun it ends, and the next try finds it."""
    failed: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        check_cancelled()
        report()
        thread.join(0.5)
    return failed[0] if failed else None
