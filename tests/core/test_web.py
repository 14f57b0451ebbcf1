"""Python and the page's scripts agree on what they call each other's messages; no script names the folder it lies in."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "web").rglob("*.js"))


def test_event_names_are_the_same_on_both_sides():
    here = (ROOT / "cns_core" / "comfy_adapter" / "page" / "events.py").read_text(encoding="utf-8")
    there = (ROOT / "web" / "events.js").read_text(encoding="utf-8")
    python = dict(re.findall(r'^([A-Z_]+) = "([^"]+)"', here, re.MULTILINE))
    assert python == dict(re.findall(r'^export const ([A-Z_]+) = "([^"]+)";', there, re.MULTILINE))
    assert len(python) == 3


def test_only_the_events_file_spells_routes_and_events():
    for script in SCRIPTS:
        if script.name != "events.js":
            assert not re.search(r'"(/cns/|cns\.(?!css))', script.read_text(encoding="utf-8")), script.name


def test_scripts_import_what_is_there_and_name_no_folder():
    for script in SCRIPTS:
        text = script.read_text(encoding="utf-8")
        assert "continual-concepts-cns" not in text, script.name
        for target in re.findall(r'from "(\./[^"]+)"', text):
            assert (script.parent / target).is_file(), f"{script.name} imports {target}"


def test_styles_are_in_the_style_sheet():
    for script in SCRIPTS:
        assert not re.search(r"cssText|\.style\b", script.read_text(encoding="utf-8")), script.name


def test_every_language_fills_in_the_same_values():
    """The type check sees to the keys."""

    def values_of(language: str) -> dict[str, list[str]]:
        text = (ROOT / "web" / "strings" / f"{language}.js").read_text(encoding="utf-8")
        strings = re.findall(r'^  (\w+): "(.+)",$', text, re.MULTILINE)
        return {key: sorted(re.findall(r"\{\w+\}", said)) for key, said in strings}

    wanted, languages = values_of("en"), {path.name for path in (ROOT / "locales").iterdir()}
    assert {path.stem for path in (ROOT / "web" / "strings").iterdir()} == languages
    assert all(values_of(language) == wanted for language in languages)
    assert len(wanted) > 20
