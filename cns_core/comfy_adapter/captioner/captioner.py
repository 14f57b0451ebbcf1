"""Captions for images, by transformers models kept under ComfyUI's ``models/captioners``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import comfy.model_management as memory
import folder_paths
import numpy as np
from PIL import Image
from torch import Tensor

from ...errors import CNSError, brief
from ..folders import CAPTIONERS
from ..interruptions import check_cancelled
from ..out_of_memory import out_of_memory
from .download import KNOWN, download
from .loading import load_captioner

NONE = "none (given captions only)"
_LONG_SIDE = 1024


def captioner_names() -> list[str]:
    """The known models, and every model folder a user put there."""
    own = [name for root in _roots() for name in _entries(root) if not name.startswith(".") and _is_model(root / name)]
    return list(dict.fromkeys([*KNOWN, *own, NONE]))


def caption_images(
    images: Mapping[int, Tensor],
    name: str,
    may_download: bool,
    on_image: Callable[[], None] = lambda: None,
    on_download: Callable[[str], None] = lambda text: None,
) -> dict[int, str]:
    """A caption for each image (height, width, 3) in 0..1, by the number the user knows it by.

    Raises:
        CNSError: the model is not there and may not be downloaded, cannot be used, or has nothing to say.
    """
    folder = _model_folder(name, may_download, on_download)
    try:
        return _captions(folder, images, on_image)
    finally:
        memory.soft_empty_cache()


def _captions(folder: Path, images: Mapping[int, Tensor], on_image: Callable[[], None]) -> dict[int, str]:
    """The model is off its device when this returns."""
    name, captions = folder.name, {}
    trouble = f"{folder} does not hold a captioning model that transformers can load"
    with _reported(name, trouble, "get its files again, from a repository made for transformers"):
        model = load_captioner(folder, memory.get_torch_device())
    for number, image in images.items():
        with _reported(name, f"The captioner {name} fails at image {number}", "write its caption by hand"):
            caption = model.caption(picture_of(image))
        check_cancelled()
        if not caption:
            raise CNSError(
                f"The captioner {name} has nothing to say about image {number}: write its caption by hand, or choose another "
                "captioner."
            )
        captions[number] = caption
        on_image()
    return captions


@contextlib.contextmanager
def _reported(name: str, trouble: str, remedy: str) -> Iterator[None]:
    """Makes one sentence of what transformers and the models raise, which is of any kind; nothing else runs in there."""
    try:
        yield
    except CNSError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise CNSError(
                f"There is not enough memory for the captioning model {name}: choose a smaller one, or write the captions by "
                "hand."
            ) from error
        raise CNSError(f"{trouble} ({brief(error)}): {remedy}, or choose another captioner.") from error


def picture_of(image: Tensor) -> Image.Image:
    """No larger than a captioner needs: models that take any size would fill the memory with a photo's pixels."""
    picture = Image.fromarray((image.clamp(0, 1).cpu().numpy() * 255).round().astype(np.uint8))
    picture.thumbnail((_LONG_SIDE, _LONG_SIDE))
    return picture


def _roots() -> list[Path]:
    return [Path(path) for path in folder_paths.get_folder_paths(CAPTIONERS)]


def _entries(root: Path) -> list[str]:
    try:
        return sorted(os.listdir(root))
    except OSError:
        return []


def _is_model(path: Path) -> bool:
    return os.path.isfile(path / "config.json")  # unlike Path.is_file, False where the folder may not be read


def _model_folder(name: str, may_download: bool, on_download: Callable[[str], None]) -> Path:
    for root in _roots():
        if _is_model(root / name):
            return root / name
    target = _roots()[0] / name
    if name not in KNOWN:
        raise CNSError(f"There is no captioning model '{name}' in {_roots()[0]}: choose another, or put its folder there.")
    if target.exists():
        raise CNSError(f"{target} has no config.json, so the model is incomplete: put the missing files there or remove it.")
    source = KNOWN[name]
    if not may_download:
        raise CNSError(
            f"The captioning model {source.repository} is not in {target}: turn on download_captioner to fetch it "
            f"({source.size}), put its files there yourself, or write the captions by hand."
        )
    return download(source, target, on_download)
