"""ComfyUI's server and the page whose prompt it runs, where there are any."""

from __future__ import annotations

from server import PromptServer


def running_server() -> PromptServer | None:
    """ComfyUI's server; None where its classes are used without it, as in a script."""
    return getattr(PromptServer, "instance", None)


def running_client() -> str | None:
    """The page whose prompt is running; None where nobody knows, as under other programs' servers."""
    return getattr(running_server(), "client_id", None)
