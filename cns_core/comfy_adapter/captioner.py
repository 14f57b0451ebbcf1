"""Image captioning with transformers models kept under ComfyUI's ``models/captioners``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import comfy.model_management as memory
import folder_paths
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import CNSError

logger = logging.getLogger(__name__)

FOLDER = "captioners"
# Folder name -> repository and download size; the first is the default.
KNOWN = {
    "blip-image-captioning-base": ("Salesforce/blip-image-captioning-base", "1 GB"),
    "blip-image-captioning-large": ("Salesforce/blip-image-captioning-large", "1.9 GB"),
    "blip2-opt-2.7b": ("Salesforce/blip2-opt-2.7b", "15 GB"),
}
NONE = "none (given captions only)"
_MAX_NEW_TOKENS = 40
_WANTED_FILES = ["*.json", "*.txt", "*.safetensors"]


def captioner_names() -> list[str]:
    """The known models, and every model folder a user put there."""
    own = [path.name for root in _roots() if root.is_dir() for path in sorted(root.iterdir()) if _is_model(path)]
    return list(dict.fromkeys([*KNOWN, *own, NONE]))


def caption_images(
    images: Sequence[Tensor], name: str, download: bool, on_image: Callable[[], None] = lambda: None
) -> list[str]:
    """One caption for each image (height, width, 3) in 0..1; greedy, so the same image gives the same caption.

    Raises:
        CNSError: the model is not there and may not be downloaded, or is not an image-to-text model.
    """
    # transformers takes seconds to import: only a user who captions pays for it
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = _model_folder(name, download)
    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        model = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError) as error:
        raise CNSError(f"{folder} does not hold a captioning model that transformers can load: {error}") from error
    device = memory.get_torch_device()
    memory.free_memory(memory.module_size(model) * 1.2, device)
    model = model.to(device).eval()
    captions = []
    for image in images:
        picture = Image.fromarray((image.clamp(0, 1).cpu().numpy() * 255).round().astype(np.uint8))
        inputs = processor(images=picture, return_tensors="pt").to(device)
        output = model.generate(**inputs, max_new_tokens=_MAX_NEW_TOKENS, do_sample=False)
        captions.append(processor.batch_decode(output, skip_special_tokens=True)[0].strip())
        on_image()
    return captions


def _roots() -> list[Path]:
    return [Path(path) for path in folder_paths.get_folder_paths(FOLDER)]


def _is_model(path: Path) -> bool:
    return (path / "config.json").is_file()


def _model_folder(name: str, download: bool) -> Path:
    for root in _roots():
        if _is_model(root / name):
            return root / name
    target = _roots()[0] / name
    if name not in KNOWN:
        raise CNSError(f"There is no captioning model '{name}' in {_roots()[0]}: choose another, or put its folder there.")
    repository, size = KNOWN[name]
    if not download:
        raise CNSError(
            f"The captioning model {repository} is not in {target}: turn on download_captioner to fetch it ({size}), "
            "put its files there yourself, or write the captions by hand."
        )
    return _download(repository, target)


def _download(repository: str, target: Path) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    unfinished = target.with_name(f".{target.name}.download")  # kept when interrupted, so that the next try resumes
    logger.info("Downloading %s to %s", repository, target)
    try:
        snapshot_download(repository, local_dir=unfinished, allow_patterns=_WANTED_FILES)
        unfinished.rename(target)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise CNSError(
            f"{repository} could not be downloaded to {target}: {error} Check the network, or put its files there yourself."
        ) from error
    return target


def image_list(batches: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """IMAGE batches (n, height, width, channels), sizes may differ between batches -> single images."""
    return tuple(image.float().cpu() for batch in batches for image in torch.unbind(batch))
