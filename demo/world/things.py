"""Every kind of thing as a list of parts in a square from -1 to 1, y down.

A part is (tone, shape, numbers). Tones: body, shade and tint follow the thing's colour, others such as ink and paper are
fixed, ``#rrggbb`` is any; only the body has the pattern.
"""

from __future__ import annotations

import math

Part = tuple[str, str, list[float]]


def ellipse(tone: str, x: float, y: float, rx: float, ry: float | None = None) -> Part:
    ry = rx if ry is None else ry
    return tone, "ellipse", [x - rx, y - ry, x + rx, y + ry]


def box(tone: str, left: float, top: float, right: float, bottom: float) -> Part:
    return tone, "polygon", [left, top, right, top, right, bottom, left, bottom]


def polygon(tone: str, *points: float) -> Part:
    return tone, "polygon", list(points)


def line(tone: str, width: float, *points: float) -> Part:
    return tone, "line", [width, *points]


def pie(tone: str, x: float, y: float, radius: float, start: float, end: float) -> Part:
    return tone, "pie", [x - radius, y - radius, x + radius, y + radius, start, end]


def _star(points: int, inner: float) -> list[float]:
    corners = []
    for index in range(2 * points):
        radius = 0.95 if index % 2 == 0 else inner
        angle = math.pi * index / points - math.pi / 2
        corners += [radius * math.cos(angle), radius * math.sin(angle)]
    return corners


def _heart() -> list[float]:
    corners = []
    for index in range(40):
        t = 2 * math.pi * index / 40
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        corners += [x / 18, -y / 18 - 0.05]
    return corners


def _eyes(x: float, y: float, gap: float, size: float = 0.09) -> list[Part]:
    return [ellipse("ink", x - gap, y, size), ellipse("ink", x + gap, y, size)]


THINGS: dict[str, list[Part]] = {
    "ball": [ellipse("body", 0, 0, 0.85), ellipse("tint", -0.3, -0.35, 0.16)],
    "box": [box("body", -0.8, -0.8, 0.8, 0.8)],
    "triangle": [polygon("body", 0, -0.9, 0.95, 0.8, -0.95, 0.8)],
    "star": [polygon("body", *_star(5, 0.42))],
    "heart": [polygon("body", *_heart())],
    "moon": [
        polygon(
            "body",
            *[
                value
                for angles, radius, shift in ((range(52, 309, 8), 0.9, 0.0), (range(281, 78, -7), 0.72, 0.42))
                for angle in angles
                for value in (shift + radius * math.cos(math.radians(angle)), radius * math.sin(math.radians(angle)))
            ],
        )
    ],
    "cross": [box("body", -0.3, -0.9, 0.3, 0.9), box("body", -0.9, -0.3, 0.9, 0.3)],
    "diamond": [polygon("body", 0, -0.95, 0.7, 0, 0, 0.95, -0.7, 0)],
    "arrow": [polygon("body", -0.9, -0.25, 0.15, -0.25, 0.15, -0.7, 0.95, 0, 0.15, 0.7, 0.15, 0.25, -0.9, 0.25)],
    "tree": [box("wood", -0.16, 0.3, 0.16, 0.95), polygon("body", 0, -0.95, 0.75, 0.45, -0.75, 0.45)],
    "house": [
        box("body", -0.7, -0.1, 0.7, 0.85),
        polygon("shade", -0.9, -0.1, 0, -0.9, 0.9, -0.1),
        box("ink", -0.15, 0.35, 0.2, 0.85),
        box("paper", -0.5, 0.1, -0.25, 0.35),
    ],
    "flower": [
        line("leaf", 0.12, 0, 0, 0, 0.95),
        *[
            ellipse("body", 0.48 * math.cos(math.radians(a)), -0.3 + 0.48 * math.sin(math.radians(a)), 0.3)
            for a in range(0, 360, 60)
        ],
        ellipse("gold", 0, -0.3, 0.26),
    ],
    "fish": [
        polygon("shade", 0.4, 0, 0.95, -0.5, 0.95, 0.5),
        ellipse("body", -0.15, 0, 0.75, 0.48),
        ellipse("ink", -0.55, -0.1, 0.09),
    ],
    "bird": [
        polygon("shade", 0.4, 0.1, 0.95, -0.15, 0.95, 0.35),
        ellipse("body", 0.05, 0.15, 0.6, 0.48),
        ellipse("body", -0.45, -0.35, 0.34),
        polygon("gold", -0.75, -0.4, -0.98, -0.25, -0.74, -0.2),
        ellipse("ink", -0.52, -0.42, 0.07),
        polygon("shade", -0.1, 0, 0.5, 0.05, 0.15, 0.45),
        line("ink", 0.07, -0.05, 0.6, -0.05, 0.92),
        line("ink", 0.07, 0.2, 0.6, 0.2, 0.92),
    ],
    "cat": [
        polygon("body", -0.7, -0.2, -0.65, -0.95, -0.15, -0.55),
        polygon("body", 0.7, -0.2, 0.65, -0.95, 0.15, -0.55),
        ellipse("body", 0, 0.1, 0.78, 0.7),
        *_eyes(0, -0.05, 0.3),
        polygon("pinkish", -0.1, 0.2, 0.1, 0.2, 0, 0.33),
        line("ink", 0.04, -0.25, 0.32, -0.85, 0.2),
        line("ink", 0.04, -0.25, 0.42, -0.85, 0.5),
        line("ink", 0.04, 0.25, 0.32, 0.85, 0.2),
        line("ink", 0.04, 0.25, 0.42, 0.85, 0.5),
    ],
    "dog": [
        ellipse("body", 0, 0, 0.65, 0.75),
        ellipse("shade", -0.68, -0.15, 0.22, 0.5),
        ellipse("shade", 0.68, -0.15, 0.22, 0.5),
        *_eyes(0, -0.2, 0.25),
        ellipse("tint", 0, 0.35, 0.36, 0.3),
        ellipse("ink", 0, 0.2, 0.15, 0.11),
    ],
    "car": [
        polygon("body", -0.95, 0.4, -0.95, 0, -0.55, -0.05, -0.35, -0.5, 0.35, -0.5, 0.6, -0.05, 0.95, 0.05, 0.95, 0.4),
        polygon("paper", -0.38, -0.05, -0.25, -0.38, 0, -0.38, 0, -0.05),
        polygon("paper", 0.08, -0.05, 0.08, -0.38, 0.28, -0.38, 0.42, -0.05),
        ellipse("ink", -0.5, 0.42, 0.24),
        ellipse("ink", 0.5, 0.42, 0.24),
        ellipse("paper", -0.5, 0.42, 0.1),
        ellipse("paper", 0.5, 0.42, 0.1),
    ],
    "boat": [
        polygon("body", -0.95, 0.3, 0.95, 0.3, 0.6, 0.8, -0.6, 0.8),
        line("ink", 0.08, 0, 0.3, 0, -0.9),
        polygon("tint", 0.1, -0.85, 0.75, 0.15, 0.1, 0.15),
    ],
    "cup": [
        ("body", "ring", [0.35, -0.35, 0.95, 0.35, 0.16]),
        polygon("body", -0.7, -0.7, 0.55, -0.7, 0.45, 0.8, -0.6, 0.8),
        ellipse("shade", -0.075, -0.7, 0.62, 0.15),
    ],
    "hat": [
        ellipse("body", 0, 0.5, 0.95, 0.25),
        polygon("body", -0.5, 0.45, -0.42, -0.75, 0.42, -0.75, 0.5, 0.45),
        polygon("shade", -0.5, 0.42, -0.48, 0.12, 0.48, 0.12, 0.5, 0.42),
    ],
    "mushroom": [polygon("cream", -0.25, 0, 0.25, 0, 0.32, 0.9, -0.32, 0.9), pie("body", 0, 0.1, 0.92, 180, 360)],
    "umbrella": [line("ink", 0.09, 0, -0.2, 0, 0.8, 0.2, 0.9, 0.35, 0.75), pie("body", 0, 0.05, 0.95, 180, 360)],
    "key": [
        ("body", "ring", [-0.95, -0.42, -0.1, 0.42, 0.2]),
        box("body", -0.15, -0.12, 0.95, 0.12),
        box("body", 0.5, 0.1, 0.65, 0.45),
        box("body", 0.78, 0.1, 0.93, 0.38),
    ],
    "apple": [
        line("wood", 0.12, 0, -0.5, 0.12, -0.92),
        ellipse("leaf", 0.34, -0.75, 0.24, 0.12),
        ellipse("body", -0.27, 0.15, 0.58, 0.68),
        ellipse("body", 0.27, 0.15, 0.58, 0.68),
    ],
    "butterfly": [
        ellipse("body", -0.5, -0.35, 0.45),
        ellipse("body", 0.5, -0.35, 0.45),
        ellipse("body", -0.38, 0.42, 0.34),
        ellipse("body", 0.38, 0.42, 0.34),
        ellipse("ink", 0, 0.05, 0.1, 0.62),
        line("ink", 0.05, 0, -0.5, -0.25, -0.92),
        line("ink", 0.05, 0, -0.5, 0.25, -0.92),
    ],
    "rocket": [
        polygon("shade", -0.3, 0.3, -0.75, 0.8, -0.3, 0.7),
        polygon("shade", 0.3, 0.3, 0.75, 0.8, 0.3, 0.7),
        polygon("gold", -0.18, 0.7, 0.18, 0.7, 0, 0.98),
        polygon("body", 0, -0.98, 0.32, -0.35, 0.32, 0.7, -0.32, 0.7, -0.32, -0.35),
        ellipse("paper", 0, -0.15, 0.17),
    ],
}

# A word for each kind of thing, learned beside the names: what a new concept's class noun can be.
KINDS = {
    "animal": ("fish", "bird", "cat", "dog", "butterfly"),
    "toy": ("ball", "box", "car", "boat", "rocket", "umbrella"),
    "plant": ("tree", "flower", "mushroom", "apple"),
    "shape": ("triangle", "star", "heart", "moon", "cross", "diamond", "arrow"),
}
