"""Every link and picture in what a user reads leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from demo.editor.canvas.parts import NOTES
from demo.editor.workflows import on_the_demo_model, regional

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "web" / "docs").rglob("*.md")])
_TARGET = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<(?:img|a)\s[^>]*(?:src|href)=\"([^\"]+)\"")


def targets(page: Path) -> list[str]:
    """What a page points to inside the project."""
    found = ["".join(groups) for groups in _TARGET.findall(page.read_text(encoding="utf-8"))]
    return [target for target in found if not target.startswith(("https://", "http://"))]


def folder_of(page: Path) -> Path:
    """Where relative targets of a page start: the editor takes those of help pages from ``web/docs``, translations' too."""
    help_pages = ROOT / "web" / "docs"
    return help_pages if page.is_relative_to(help_pages) else page.parent


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links to them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_pictures_are_there(page):
    for target in targets(page):
        path, _, anchor = target.partition("#")
        file = folder_of(page) / path if path else page
        assert file.exists(), f"{target} leads nowhere"
        assert not anchor or anchor in anchors(file), f"{target}: there is no such heading"


def test_every_node_has_its_help_page_with_a_picture():
    ids = {path.stem for path in (ROOT / "web" / "docs").glob("*.md")}
    schemas = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "nodes").rglob("*.py"))
    assert ids == set(re.findall(r'node_id="(CNS_\w+)"', schemas))
    for node_id in ids:
        assert any(target.endswith((".jpg", ".png")) for target in targets(ROOT / "web" / "docs" / f"{node_id}.md")), node_id


def test_every_template_has_a_thumbnail():
    folder = ROOT / "example_workflows"
    assert {path.stem for path in folder.glob("*.json")} == {path.stem for path in folder.glob("*.jpg")}


@pytest.mark.parametrize(
    ("workflow", "concepts"),
    [
        ("no_gpu_tour", on_the_demo_model.CONCEPTS),
        ("with_and_without_l_reg", on_the_demo_model.HELD),
        ("two_of_a_kind_no_gpu", regional.PAIR),
    ],
)
def test_notes_name_what_is_taught(workflow, concepts):
    assert re.findall(r"\*\*([a-z]+)\*\*", (NOTES / f"{workflow}.md").read_text(encoding="utf-8")) == list(concepts)
