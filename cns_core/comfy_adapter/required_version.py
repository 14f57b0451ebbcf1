"""Does this ComfyUI have what the pack needs? Asked before anything of ComfyUI is imported."""

from __future__ import annotations

import importlib.util
import logging
import re

REQUIRED = "0.3.75"  # as in pyproject.toml

_log = logging.getLogger(__name__)


def new_enough() -> bool:
    """Whether ComfyUI is new enough for the pack; says so in the log where it is not."""
    found = _version()
    if found is None and _has_node_api():
        return True  # a fork without a version of its own
    if found is not None and _numbers(found) >= _numbers(REQUIRED):
        return True
    sentence = "ComfyUI-CNS needs ComfyUI %s or newer, but this is %s: update ComfyUI, then start it again."
    _log.error(sentence, REQUIRED, found or "older")
    return False


def _version() -> str | None:
    try:
        from comfyui_version import __version__
    except ModuleNotFoundError:
        return None
    return __version__


def _has_node_api() -> bool:
    try:
        return importlib.util.find_spec("comfy_api.latest") is not None
    except ModuleNotFoundError:  # of comfy_api
        return False


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
