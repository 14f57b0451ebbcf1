"""The calibration prompts the pack ships: 100, spread over subjects, places, styles, lighting and numbers of objects."""

from __future__ import annotations

from pathlib import Path


def shipped_prompts() -> list[str]:
    return split_prompts(Path(__file__).with_name("calibration_prompts.txt").read_text(encoding="utf-8"))


def split_prompts(text: str) -> list[str]:
    """One prompt per line; blank lines are ignored."""
    return [line.strip() for line in text.splitlines() if line.strip()]
