"""Nouns are found as whole words where a script has spaces, and anywhere where it has none."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest
from cns_pack.cns_core import concept
from cns_pack.cns_core.words import beside, find_word
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.noun_cases import CASES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("text", "noun", "found"), CASES)
def test_where_a_noun_is_a_word(text, noun, found):
    assert (find_word(text, noun) is not None) == found


def test_the_first_word_is_found_and_tokens_are_passed_over():
    assert find_word("<dog> in a hot-dog costume, a Dog, a dog", "dog").span() == (30, 33)


def test_a_space_where_two_words_would_read_as_one():
    assert beside("a ", "dog") == "a dog"
    assert beside("a", "dog") == "a dog"
    assert beside("dog", "'s ball") == "dog's ball"
    assert beside("一只", "狗") == "一只狗"


@settings(derandomize=True, max_examples=200, deadline=None)
@given(left=st.text(max_size=6), right=st.text(max_size=6))
def test_a_noun_is_found_whatever_stands_around_it(left, right):
    """Only with a space between them: what joins a word is for the table above. Half a <token> would hide it."""
    place = find_word(f"{left} dog {right}", "dog")
    assert place is not None or "<" in left


@settings(derandomize=True, max_examples=200, deadline=None)
@given(letter=st.characters(categories=["L", "M", "N"], max_codepoint=0x0DFF))
def test_no_letter_of_a_script_with_spaces_is_cut_off(letter):
    assert find_word(f"dog{letter}", "dog") is None
    if not unicodedata.category(letter).startswith("M"):
        assert find_word(f"{letter}dog", "dog") is None


def test_python_and_the_page_know_a_token_by_the_same_rule():
    script = (ROOT / "web" / "prompt_help.js").read_text(encoding="utf-8")
    assert re.search(r"^const TOKEN = /(.+)/g;", script, re.MULTILINE)[1] == concept._TOKEN.pattern
