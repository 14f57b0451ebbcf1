"""Every kind of thing as a list of parts in a square from -1 to 1, y down: ``things.svg`` and ``new_things.svg`` show them.

A part is (tone, shape, numbers). The tones body, shade and tint follow the thing's colour, ``#rrggbb`` is fixed; only the body
has the pattern.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

Part = tuple[str, str, list[float]]
_SVG = "{http://www.w3.org/2000/svg}"


def ellipse(tone: str, x: float, y: float, rx: float, ry: float) -> Part:
    return tone, "ellipse", [x - rx, y - ry, x + rx, y + ry]


def box(tone: str, left: float, top: float, right: float, bottom: float) -> Part:
    return tone, "polygon", [left, top, right, top, right, bottom, left, bottom]


def ring(tone: str, x: float, y: float, rx: float, ry: float, width: float) -> Part:
    return tone, "ring", [x - rx, y - ry, x + rx, y + ry, width]


def _drawings(file: str) -> dict[str, list[Part]]:
    """The groups of an SVG file beside this one, by their ids."""
    groups = ElementTree.parse(Path(__file__).with_name(file)).iter(f"{_SVG}g")
    return {group.attrib["id"]: [_part(element) for element in group] for group in groups}


def _part(element: ElementTree.Element) -> Part:
    """Its tone is its colour or its class."""

    def numbers(*names: str) -> list[float]:
        return [float(number) for name in names for number in re.findall(r"-?[\d.]+", element.get(name, ""))]

    tone = element.get("color") or element.attrib["class"]
    match element.tag.removeprefix(_SVG):
        case "circle":
            x, y, radius = numbers("cx", "cy", "r")
            return ellipse(tone, x, y, radius, radius)
        case "ellipse" if "stroke-width" in element.attrib:  # half of the stroke is outside of the ellipse
            x, y, rx, ry, width = numbers("cx", "cy", "rx", "ry", "stroke-width")
            return ring(tone, x, y, rx + width / 2, ry + width / 2, width)
        case "ellipse":
            return ellipse(tone, *numbers("cx", "cy", "rx", "ry"))
        case "rect":
            left, top, width, height = numbers("x", "y", "width", "height")
            return box(tone, left, top, left + width, top + height)
        case "polygon":
            return tone, "polygon", numbers("points")
        case "polyline":
            return tone, "line", numbers("stroke-width", "points")
        case "path":  # from the left over the top to the right: the upper half of a disc
            left, y, radius, *_ = numbers("d")
            return tone, "pie", [left, y - radius, left + 2 * radius, y + radius, 180, 360]
    raise ValueError(f"<{element.tag}> is none of the shapes that things are drawn of.")


THINGS = _drawings("things.svg")
NEW_THINGS = _drawings("new_things.svg")  # those the demo model never saw

# A word for each kind of thing, learned beside the names: what a new concept's class noun can be.
KINDS = {
    "animal": ("fish", "bird", "cat", "dog", "butterfly"),
    "toy": ("ball", "box", "car", "boat", "rocket", "umbrella"),
    "plant": ("tree", "flower", "mushroom", "apple"),
    "shape": ("triangle", "star", "heart", "moon", "cross", "diamond", "arrow"),
}
