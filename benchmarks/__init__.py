"""What the pack costs and what it achieves, measured in a ComfyUI without its server."""

from demo import headless  # noqa: F401 - before anything of ComfyUI's
