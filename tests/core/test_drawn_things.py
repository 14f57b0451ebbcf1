"""Things are drawn of the shapes in demo/world/*.svg."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from demo.world import things


@pytest.mark.parametrize(
    ("element", "part"),
    [
        ('<circle class="body" cx="0.5" cy="0" r="0.25"/>', ("body", "ellipse", [0.25, -0.25, 0.75, 0.25])),
        ('<ellipse class="tint" cx="0" cy="0" rx="1" ry="0.5"/>', ("tint", "ellipse", [-1, -0.5, 1, 0.5])),
        (
            '<ellipse color="#ff0000" stroke-width="0.5" cx="0" cy="0" rx="0.5" ry="0.25"/>',
            ("#ff0000", "ring", [-0.75, -0.5, 0.75, 0.5, 0.5]),
        ),
        ('<rect class="shade" x="-1" y="0" width="0.5" height="1"/>', ("shade", "polygon", [-1, 0, -0.5, 0, -0.5, 1, -1, 1])),
        ('<polygon class="body" points="0,-1 1,1 -1,1"/>', ("body", "polygon", [0, -1, 1, 1, -1, 1])),
        ('<polyline color="#000000" stroke-width="0.1" points="0,0 0,-.5"/>', ("#000000", "line", [0.1, 0, 0, 0, -0.5])),
        (
            '<path class="body" d="M -0.5 0.25 A 0.5 0.5 0 0 1 0.5 0.25 Z"/>',
            ("body", "pie", [-0.5, -0.25, 0.5, 0.75, 180, 360]),
        ),
    ],
)
def test_a_shape_is_a_part(element, part):
    assert things._part(ElementTree.fromstring(element)) == part


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match="<text> is none of the shapes"):
        things._part(ElementTree.fromstring('<text color="#000000"/>'))


def test_all_that_is_drawn_is_inside_its_square_and_has_a_colour():
    drawn = {**things.THINGS, **things.NEW_THINGS}
    assert len(drawn) == 39
    for name, parts in drawn.items():
        for tone, shape, numbers in parts:
            assert tone in ("body", "shade", "tint") or (name, len(tone), tone[0]) == (name, 7, "#")
            places = {"line": numbers[1:], "ring": numbers[:4], "pie": numbers[:4]}.get(shape, numbers)
            assert -1.02 < min(places) <= max(places) < 1.2, name
    assert all(tone.startswith("#") for parts in things.NEW_THINGS.values() for tone, *_ in parts)
