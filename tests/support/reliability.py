"""The table of docs/reliability.md, from the tests that inject the faults."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

BEGIN, END = "<!-- faults -->", "<!-- end of faults -->"


@dataclass
class Row:
    """What a fault did in all the places where it ended alike."""

    fault: str
    places: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)

    def cells(self) -> list[str]:
        ends = _counted(self.ends) if len(self.ends) > 1 else next(iter(self.ends))
        return [self.fault, ", ".join(self.places), ends, _counted(self.left) or "nothing"]


class Reliability:
    def __init__(self) -> None:
        self._rows: dict[tuple, Row] = {}

    def add(self, fault: str, where: str, ends: Counter[str], left: Counter[str]) -> None:
        """How often each end came about in one place, and how often each kind of thing was left behind."""
        row = self._rows.setdefault((fault, frozenset(ends), frozenset(left)), Row(fault))
        row.places.append(f"{where} ({ends.total():,})")
        row.ends += ends
        row.left += left

    def write(self, page: Path) -> None:
        """Replaces what is between the page's markers."""
        head = ["What goes wrong", "While (times)", "How it ended", "Left behind"]
        faults = list(dict.fromkeys(row.fault for row in self._rows.values()))
        rows = [row.cells() for row in sorted(self._rows.values(), key=lambda row: faults.index(row.fault))]
        lines = [f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows]]
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        page.write_text("\n".join([before + BEGIN, *lines, END + after]), encoding="utf-8")


def _counted(things: Counter[str]) -> str:
    return ", ".join(f"{thing} ({count:,})" for thing, count in things.items())
