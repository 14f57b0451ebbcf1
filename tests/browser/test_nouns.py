"""The page knows a noun from its letters by the same rule as Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.noun_cases import CASES

WORDS = Path(__file__).parents[2] / "web" / "words.js"
HAS = """async ([source, cases]) => {
    const { hasNoun, wordsOf } = await import("data:text/javascript," + encodeURIComponent(source));
    return cases.map(([text, noun]) => hasNoun(wordsOf(text), noun));
}"""
PLURALS = [("two dogs", "dog", True), ("foxes", "fox", True), ("a dogsled", "dog", False), ("two hot-dogs", "dog", False)]


@pytest.fixture(scope="module")
def found(browser):
    page = browser.new_page()
    yield lambda cases: page.evaluate(HAS, [WORDS.read_text(encoding="utf-8"), cases])
    page.close()


def test_page_and_python_find_the_same_nouns(found):
    assert found(CASES) == [expected for *_, expected in CASES]


def test_the_page_takes_plurals_too(found):
    """Two <new1> dogs: beside its noun."""
    assert found(PLURALS) == [expected for *_, expected in PLURALS]
