"""Names of saved files: what any system takes, and placeholders as ComfyUI's editor fills them in for its own save nodes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

_PLACEHOLDER = re.compile(r"%([^%]+)%")
_DATE_PART = re.compile(r"d{1,2}|M{1,2}|h{1,2}|m{1,2}|s{1,2}|y{2,4}")
_UNFIT = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')  # for a file's name on some system


def plain(name: str) -> str:
    """``<new1> dog`` -> ``new1-dog``: letters and digits of any script, which every file system and every prompt takes."""
    return "-".join(re.findall(r"\w+", name))


def fill_in(name: str, prompt: Mapping[str, Mapping[str, Any]], now: datetime) -> str:
    """``%date:yyyy-MM-dd%`` becomes the date, ``%Title.widget%`` what that widget of the node with that title or type holds.

    ``prompt``: the nodes that run, as ComfyUI's API has them. Other placeholders stay: ComfyUI's ``get_save_image_path``
    knows ``%year%`` and its like.
    """

    def value(placeholder: re.Match[str]) -> str:
        inner = placeholder[1]
        if inner.startswith("date:"):
            return _date(inner.removeprefix("date:"), now)
        held = _widget(inner, prompt)
        return placeholder[0] if held is None else held

    return _PLACEHOLDER.sub(value, name)


def _date(pattern: str, now: datetime) -> str:
    numbers = {"d": now.day, "M": now.month, "h": now.hour, "m": now.minute, "s": now.second}
    years = {"yy": f"{now:%y}", "yyyy": f"{now.year:04}"}

    def part(letters: re.Match[str]) -> str:
        found = letters[0]
        return f"{numbers[found[0]]:0{len(found)}}" if found[0] in numbers else years.get(found, found)

    return _DATE_PART.sub(part, pattern)


def _widget(placeholder: str, prompt: Mapping[str, Mapping[str, Any]]) -> str | None:
    """None where there is no such node or widget."""
    title, _, widget = placeholder.rpartition(".")
    by_type = [node for node in prompt.values() if node.get("class_type") == title]
    by_title = [node for node in prompt.values() if isinstance(node.get("_meta"), dict) and node["_meta"].get("title") == title]
    for node in [*by_type, *by_title]:
        value = node["inputs"].get(widget)
        if isinstance(value, str | int | float):  # not a link
            return _UNFIT.sub("_", value if isinstance(value, str) else json.dumps(value))
    return None
