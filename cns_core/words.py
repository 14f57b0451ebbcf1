"""Where a word stands in a text: whole words where the script has spaces, any place where it has none."""

from __future__ import annotations

import re
import unicodedata

# How Unicode names the letters of scripts without spaces between words. Korean has spaces, but particles cling to its nouns.
_WITHOUT_SPACES = (
    *("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "HALFWIDTH", "BOPOMOFO", "YI", "HANGUL"),
    *("THAI", "LAO", "KHMER", "MYANMAR", "TAI", "NEW TAI", "JAVANESE", "BALINESE"),
)
_HYPHENS = ("-", "\u2010", "\u2011", "\u00ad", "\u200c", "\u200d")  # the last three are invisible


def find_word(text: str, word: str) -> re.Match[str] | None:
    """The first place of the word, in any case; not within another word (t-shirt, hotdog) nor within a ``<token>``."""
    pattern = re.compile(rf"<[^\s<>]+>|({spelling(word)})", re.IGNORECASE)
    places = (match for match in pattern.finditer(text) if match[1])
    return next((at for at in places if not is_joined(text, at.start()) and not is_joined(text, at.end())), None)


def is_joined(text: str, at: int) -> bool:
    """Whether one word goes on from ``text[:at]`` to ``text[at:]``."""
    left, right = text[:at], text[at:]
    if _category(right[:1]) == "M":  # an accent or a vowel sign belongs to the letter before it
        return True
    if right.startswith(_HYPHENS):
        right = right[1:]
    elif left.endswith(_HYPHENS):
        left = left[:-1]
    return _needs_spaces(left[-1:]) and _needs_spaces(right[:1])


def beside(left: str, right: str) -> str:
    """Both in a row, with a space where they would read as one word."""
    return f"{left} {right}" if is_joined(left + right, len(left)) else left + right


def spelling(word: str) -> str:
    """The regular expression of a word, or of several with any white space between them."""
    return r"\s+".join(map(re.escape, word.split()))


def _needs_spaces(letter: str) -> bool:
    """Whether it is part of a word, in a script with spaces between words; ``letter`` may be empty."""
    written = letter == "_" or _category(letter) in ("L", "M", "N")
    return written and not unicodedata.name(letter, "").startswith(_WITHOUT_SPACES)


def _category(letter: str) -> str:
    return unicodedata.category(letter)[0] if letter else ""
