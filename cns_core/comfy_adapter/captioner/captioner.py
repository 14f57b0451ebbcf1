"""Captions for images, by transformers models kept under ComfyUI's ``models/captioners``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import comfy.model_management as memory
import numpy as np
from PIL import Image
from torch import Tensor

from ...errors import CNSError, brief
from ..folders import CAPTIONERS
from ..interruptions import check_cancelled
from ..model_folder import ModelFolder, Source
from ..out_of_memory import out_of_memory
from .loading import load_captioner

NONE = "none (given captions only)"
_KNOWN = {
    "blip-image-captioning-large": Source(
        "Salesforce/blip-image-captioning-large", "353689b859fcf0523410b1806dace5fb46ecdf41", "1.9 GB"
    ),
    "blip2-opt-2.7b": Source("Salesforce/blip2-opt-2.7b", "59a1ef6c1e5117b3f65523d1c6066825bcf315e3", "15 GB"),
}
MODELS = ModelFolder(CAPTIONERS, _KNOWN, "captioning model", "download_captioner", "write the captions by hand")
_LONG_SIDE = 1024

_Name = TypeVar("_Name", int, str)


def captioner_names() -> list[str]:
    """The known models, every model folder a user put there, and none."""
    return [*MODELS.names(), NONE]


def caption_images(
    images: Mapping[_Name, Tensor],
    name: str,
    may_download: bool,
    on_image: Callable[[], None] = lambda: None,
    on_download: Callable[[str], None] = lambda text: None,
) -> dict[_Name, str]:
    """A caption for each image (height, width, 3) in 0..1, by the number or name the user knows it by.

    Raises:
        CNSError: the model is not there and may not be downloaded, cannot be used, or has nothing to say.
    """
    folder = MODELS.path_of(name, may_download, on_download)
    try:
        return _captions(folder, images, on_image)
    finally:
        memory.soft_empty_cache()


def _captions(folder: Path, images: Mapping[_Name, Tensor], on_image: Callable[[], None]) -> dict[_Name, str]:
    """The model is off its device when this returns."""
    name = folder.name
    captions: dict[_Name, str] = {}
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
