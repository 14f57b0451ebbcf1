from __future__ import annotations

import pytest
from cns_pack.cns_core.atomic_write import replacing


def test_what_the_block_wrote_takes_the_place_of_the_file(tmp_path):
    path = tmp_path / "new folder" / "notes.txt"
    for text in ("first", "second"):
        with replacing(path) as unfinished:
            unfinished.write_text(text)
            assert not path.exists() or path.read_text() == "first"
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("as it was")
    with pytest.raises(ZeroDivisionError), replacing(path) as unfinished:  # noqa: PT012
        unfinished.write_text("half of")
        1 / 0  # noqa: B018
    assert path.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [path]
