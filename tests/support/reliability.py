"""The table of docs/reliability.md, from the tests that inject the faults."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

BEGIN, END = "<!-- faults -->", "<!-- end of faults -->"


class Reliability:
    def __init__(self) -> None:
        self._rows: list[list[str]] = []

    def add(self, fault: str, where: str, ends: Counter[str], left: Counter[str]) -> None:
        """One row: how often each end came about, and how often each kind of thing was left behind."""
        self._rows.append([fault, where, str(ends.total()), _counted(ends), _counted(left) or "nothing"])

    def write(self, page: Path) -> None:
        """Replaces what is between the page's markers."""
        head = ["What goes wrong", "While", "Times", "How it ended", "Left behind"]
        lines = [f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *self._rows]]
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        page.write_text("\n".join([before + BEGIN, *lines, END + after]), encoding="utf-8")


def _counted(things: Counter[str]) -> str:
    return ", ".join(f"{thing} ({count})" for thing, count in things.items())
