"""Plots, previews, progress and autosaves accompany a result. When one of them fails, the result still comes out."""

from __future__ import annotations

import contextlib
import logging
import textwrap
from types import TracebackType

from comfy.model_management import InterruptProcessingException
from PIL import Image, ImageDraw

from ..errors import CNSError

logger = logging.getLogger(__name__)

_LONGEST = 400  # characters of an error message that are shown
_LETTER, _LINE, _MARGIN = 6, 12, 10  # pixels of Pillow's built-in font, which is legible at twice its size


class SideEffect:
    """A context for work that accompanies a result: an error ends the block and is kept in ``failure``, a sentence for people.

    ComfyUI's Cancel passes through. The context can be entered many times; its first failure is logged as a warning.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        """``problem`` is the sentence up to its reason, such as 'The plot could not be drawn'; ``remedy`` follows it."""
        self.failure = ""
        self._problem, self._remedy = problem, remedy

    def __enter__(self) -> SideEffect:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        # Any Exception: matplotlib, the console, the websocket and the hooks of other nodes can raise every kind.
        if not isinstance(error, Exception) or isinstance(error, InterruptProcessingException):
            return False
        known, self.failure = self.failure, self._sentence(error)
        if not known:
            with contextlib.suppress(OSError, ValueError):  # logging itself raises where the console is gone
                logger.warning(self.failure, exc_info=error)
        return True

    def _sentence(self, error: Exception) -> str:
        said = " ".join(str(error).split())
        reason = said if isinstance(error, CNSError) else f"{type(error).__name__}: {said}".removesuffix(": ")
        if len(reason) > _LONGEST:
            reason = f"{reason[:_LONGEST]} ..."
        return f"{self._problem}: {reason.removesuffix('.')}. {self._remedy}".strip()


def text_picture(text: str, width: int, height: int) -> Image.Image:
    """The text, wrapped, as an RGB picture of that size in pixels."""
    image = Image.new("RGB", (width // 2, height // 2), "#ffffff")
    lines = textwrap.wrap(text, max(1, (image.width - 2 * _MARGIN) // _LETTER))
    pen = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        readable = line.encode("latin-1", "replace").decode("latin-1")  # all that the built-in font is sure to have
        pen.text((_MARGIN, _MARGIN + number * _LINE), readable, fill="#a00000")
    return image.resize((width, height))
