"""English is what the nodes say; every other language covers the same names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from docs.build.locales import node_definitions

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "locales"
LANGUAGES = sorted(path.name for path in FOLDER.iterdir())


def read(language: str) -> dict:
    return json.loads((FOLDER / language / "nodeDefs.json").read_text(encoding="utf-8"))


def test_english_is_what_the_nodes_say(server):
    assert read("en") == node_definitions(server.object_info()), "run python dev.py docs locales"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_covers_every_node(language):
    english, translated = read("en"), read(language)
    assert translated.keys() == english.keys()
    for name, node in english.items():
        assert translated[name].get("inputs", {}).keys() == node.get("inputs", {}).keys(), name
        assert translated[name]["outputs"].keys() == node["outputs"].keys(), name
        texts = [translated[name]["display_name"], translated[name]["description"]]
        assert all(texts), name


@pytest.mark.parametrize("page", sorted(ROOT.glob("web/docs/*/*.md")), ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_help_page_names_inputs_as_that_language_does(page):
    node = read(page.stem)[page.parent.name]
    text = page.read_text(encoding="utf-8")
    assert node["display_name"] in text.splitlines()[0]
    for name, widget in node.get("inputs", {}).items():
        assert name == widget["name"].lower() or f"`{name}`（{widget['name']}）" in text, name


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_has_signs_the_editors_translator_reads(language):
    def texts(value) -> list[str]:
        return [value] if isinstance(value, str) else [text for part in value.values() for text in texts(part)]

    assert [text for text in texts(read(language)) if set(text) & set("{}@|")] == []
