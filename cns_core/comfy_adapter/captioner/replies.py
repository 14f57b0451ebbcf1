"""Finds the caption in what a model wrote: chat models add roles, further turns and their thinking."""

from __future__ import annotations

import re
from collections.abc import Iterable

_OPENED = r"(?:<think(?:ing)?>|<thought>|◁think▷|\[THINK\])"
_CLOSED = r"(?:</think(?:ing)?>|</thought>|◁/think▷|\[/THINK\])"
_THINKING = re.compile(rf".*{_CLOSED}|{_OPENED}.*", re.DOTALL)  # the second: cut off before it came to an answer
_ENDS_THINKING = re.compile(rf"{_OPENED}\s*$")
_ROLE = r"(?:user|human|system|assistant)"
_LABELS = re.compile(rf"^\W*(?:(?:{_ROLE}|answer|caption|description)\s*:\s*|(?:{_ROLE}|model)\s*(?:\n\s*|$))+", re.IGNORECASE)
_NEXT_TURN = re.compile(rf"\s\W*\b{_ROLE}\s*:.*|\n\W*(?:{_ROLE}|model)\s*\n.*", re.IGNORECASE | re.DOTALL)
_MARKUP = re.compile(r"\*\*|</?answer>|<\|(?:begin|end)_of_box\|>")
_QUOTED = re.compile(r"[\"“](.*)[\"”]")
_SENTENCES = re.compile(r".*\w[.!?](?=\s|$)", re.DOTALL)
_LOOP = re.compile(
    r"\b(\w+(?:\W+\w+)?)(?:\W+\1\b){2}"  # a word, or two, three times running
    r"|\b(\w+(?:\W+\w+){2,})\W+\2\b"  # a longer phrase, twice
    r"|([^\W\d]{2,}?)\3{3}",  # inside one word
    re.IGNORECASE,
)


def caption_in(reply: str, prompt: str, instruction: str, special_tokens: Iterable[str]) -> str:
    """The first caption in a decoded reply, on one line; "" where it holds none.

    ``reply`` still has its special tokens, which end a turn. ``prompt`` is what came before it.
    """
    thought = "<think>" if _ENDS_THINKING.search(prompt) else ""
    answer = _MARKUP.sub("", _THINKING.sub("", thought + reply))
    borders = sorted([*special_tokens, instruction], key=len, reverse=True)
    *turns, last = re.split("|".join(map(re.escape, borders)), answer)
    captions = map(_one_line, [*turns, _whole_sentences(last)])
    return next((caption for caption in captions if re.search(r"\w", caption)), "")


def loops(caption: str) -> bool:
    """Whether it says the same again and again, as greedy decoding can: ``a bald bald bald man``."""
    return _LOOP.search(caption) is not None


def _one_line(turn: str) -> str:
    line = " ".join(_NEXT_TURN.sub("", _LABELS.sub("", turn)).split())
    quoted = _QUOTED.fullmatch(line)
    return quoted[1] if quoted else line


def _whole_sentences(unfinished: str) -> str:
    """Without the sentence that the limit of tokens cut off, unless it is the only one."""
    whole = _SENTENCES.match(unfinished)
    return whole[0] if whole else unfinished
