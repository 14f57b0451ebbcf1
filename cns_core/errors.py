"""The one exception a user reads: what is wrong, the value, what to do; and what others raise, in brief."""

from __future__ import annotations

import unicodedata

_BREAKING = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of characters, ends of lines and paragraphs


class CNSError(ValueError):
    """A mistake a user can fix. Its message is one complete sentence, shown by the editor as it stands.

    It stays on one line whatever value it quotes: a line break in that is written as ``\\n``.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__("".join(map(_in_line, sentence)))


def brief(error: Exception) -> str:
    """Kind and first line of a library's error, without a full stop: some messages are pages long."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first[:200]}".rstrip(": .")


def _in_line(character: str) -> str:
    breaks = unicodedata.category(character) in _BREAKING
    return character.encode("unicode_escape").decode() if breaks else character
