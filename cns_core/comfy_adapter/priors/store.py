"""Prior images on disk, below ``output/cns/priors``, so that the next training has them at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import folder_paths
import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ...atomic_write import replacing
from ..file_names import plain
from ..folders import STATES

_RECORD = "cns_prior"  # the text in a PNG that says how it was made; not "prompt", which the editor would open
_END = b"\0\0\0\0IEND\xaeB`\x82"
_LONGEST = 48  # characters of a name before its number


class PriorStore:
    """Pictures of one class, found by what is written in them. A file never replaces another one."""

    def __init__(self, noun: str) -> None:
        self.folder = Path(folder_paths.get_output_directory(), STATES, "priors")
        self._name = plain(noun.casefold())[:_LONGEST] or "class"
        self._files: dict[str, list[Path]] = {}
        self._number = 1  # none below it is free
        for path in sorted(self.folder.glob(f"{self._name}_*.png")):
            if record := _record(path):
                self._files.setdefault(record, []).append(path)

    def load(self, made: Mapping[str, object]) -> Tensor | None:
        """The picture (height, width, 3) that was made so; None where there is none, or only one that is cut short."""
        for path in self._files.get(_key(made), []):
            try:
                if path.read_bytes().endswith(_END):  # other packs let Pillow open pictures that are cut short
                    with Image.open(path) as picture:
                        return _tensor(picture.convert("RGB"))
            except (OSError, SyntaxError, ValueError):
                continue
        return None

    def save(self, made: Mapping[str, object], image: Tensor) -> None:
        """Raises OSError where the folder cannot be written."""
        while (path := self.folder / f"{self._name}_{self._number:05}.png").exists():
            self._number += 1
        info = PngInfo()
        info.add_text(_RECORD, _key(made))
        with replacing(path) as temporary:
            _picture(image).save(temporary, "PNG", pnginfo=info, compress_level=4)


def in_eight_bits(image: Tensor) -> Tensor:
    """The picture as :class:`PriorStore` gives it back."""
    return _tensor(_picture(image))


def _picture(image: Tensor) -> Image.Image:
    return Image.fromarray((image.clamp(0, 1).cpu() * 255).round().byte().numpy())


def _tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255)


def _key(made: Mapping[str, object]) -> str:
    return json.dumps(made, sort_keys=True)


def _record(path: Path) -> str:
    """What is written in a file, which need not be ours or a picture."""
    try:
        with Image.open(path) as picture:
            return str(picture.info.get(_RECORD, ""))
    except (OSError, SyntaxError, ValueError):
        return ""
