"""What users read when something is wrong."""

from __future__ import annotations

import pytest
from cns_pack.cns_core.config import TrainConfig
from cns_pack.cns_core.errors import CNSError, brief


def test_a_sentence_stays_on_one_line_whatever_it_quotes():
    with pytest.raises(CNSError) as caught:
        TrainConfig(template="a\nb\u2028\ud800\x00 é 狗 👨‍👩‍👧 C:\\x")
    assert str(caught.value).startswith("The template 'a\\nb\\u2028\\ud800\\x00 é 狗 👨‍👩‍👧 C:\\x' lacks {concept}")
    assert len(str(caught.value).splitlines()) == 1


def test_errors_of_libraries_in_brief():
    assert brief(ValueError("\n  Too long.\nPages of advice")) == "ValueError: Too long"
    assert brief(KeyError()) == "KeyError"
    assert brief(RuntimeError("x" * 500)) == f"RuntimeError: {'x' * 200}"
