"""ComfyUI's progress bar and progress text."""

from __future__ import annotations

import comfy.utils

from ..interruptions import check_cancelled
from ..side_effects import SideEffect
from .running_server import running_server


class Progress:
    """Counts ``total`` units of one node's work. Showing it never costs the work, and every call obeys Cancel."""

    def __init__(self, total: int, node_id: str | None) -> None:
        self._bar = comfy.utils.ProgressBar(total, node_id=node_id)
        self._node_id = node_id
        self._done = 0
        self._showing = SideEffect("The progress could not be shown")

    def advance(self) -> None:
        self._done += 1
        with self._showing:
            self._bar.update_absolute(self._done)
        check_cancelled()

    def skip(self, units: int) -> None:
        """Counts units that were done earlier."""
        self._done += units

    def text(self, text: str) -> None:
        """A line of text in the node. Older editors take < for HTML, and files can be called anything."""
        server = running_server()
        if self._node_id is not None and server is not None:
            with self._showing:
                server.send_progress_text(text.replace("<", "‹"), self._node_id)
