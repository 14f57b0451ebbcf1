from __future__ import annotations

import numpy as np

from demo.contact_sheet import contact_sheet
from docs.build.story import stacked


def picture(value: int) -> np.ndarray:
    return np.full((10, 10, 3), value, np.uint8)


def test_pictures_stand_in_their_rows_and_columns():
    sheet = np.asarray(contact_sheet([[picture(50), None, picture(100)], [picture(150)]], gap=2))
    assert sheet.shape == (22, 34, 3)
    assert (sheet[:10, :10] == 50).all()
    assert (sheet[:10, 24:] == 100).all()
    assert (sheet[12:, :10] == 150).all()
    assert (sheet == 255).all(axis=2).sum() == 22 * 34 - 3 * 100


def test_words_take_room_beside_and_above_the_pictures():
    plain, beside = contact_sheet([[picture(0)]]), contact_sheet([[picture(0)]], ["a row"])
    above = contact_sheet([[picture(0)]], ["a row"], ["a column"])
    assert plain.width < beside.width == above.width
    assert beside.height < above.height
    assert (np.asarray(above)[-10:, -10:] == 0).all()
    assert contact_sheet([[picture(0)]], columns=["a b c d"]).height > contact_sheet([[picture(0)]], columns=["a"]).height
    assert stacked([plain, above]).size == (above.width, plain.height + above.height)
