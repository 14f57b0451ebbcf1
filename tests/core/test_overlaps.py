"""Overlaps of masks a reader can count."""

from __future__ import annotations

import numpy as np
import pytest
from cns_pack.cns_core.errors import CNSError
from cns_pack.cns_core.kv_layers import KVLayout
from cns_pack.cns_core.masks import NeuronMask
from cns_pack.cns_core.overlaps import new_to, overlaps, shared_by_prompts

LAYOUT = KVLayout.from_shapes({"a": (2, 4)})


def mask(*selected: int) -> NeuronMask:
    return NeuronMask.from_flat(LAYOUT, np.isin(np.arange(8), selected))


def test_overlaps():
    # {0,1,2} and {1,2,3}: 2 of 4; {0,1,2} and {7}: none; {1,2,3} and {7}: none
    assert overlaps([mask(0, 1, 2), mask(1, 2, 3), mask(7)]).tolist() == [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]


def test_shared_by_prompts():
    # {0,1,2,3}; with {1,2,3,4} three are left; with {3,4,5,6} one
    assert shared_by_prompts([mask(0, 1, 2, 3), mask(1, 2, 3, 4), mask(3, 4, 5, 6)]).tolist() == [1, 0.75, 0.25]
    with pytest.raises(CNSError, match="No prompts were given"):
        shared_by_prompts([])


def test_new_to():
    # of {1,2,3} only 3 is new beside {0,1,2}; {0,3} has been used whole
    assert new_to([mask(0, 1, 2), mask(1, 2, 3), mask(0, 3), mask()]) == [1, pytest.approx(1 / 3), 0, 0]
