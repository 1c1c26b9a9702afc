"""A reader who starts at the index finds every page, and a link into a page finds its heading."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
INDEX = DOCS / "README.md"
PAGES = [*ROOT.glob("*.md"), *DOCS.glob("**/*.md")]
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)")


def linked(page: Path) -> list[tuple[Path, str]]:
    """The pages that a page links to, each with its anchor or ""."""
    return [
        ((page.parent / path).resolve() if path else page, anchor or "")
        for path, anchor in LINK.findall(page.read_text())
    ]


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_index_names_every_page() -> None:
    found = {page for page, _ in linked(INDEX)}
    missing = [str(page.relative_to(DOCS)) for page in DOCS.glob("**/*.md") if page != INDEX and page not in found]
    assert not missing, f"docs/README.md has no link to {', '.join(missing)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_anchors_are_headings(page: Path) -> None:
    for target, anchor in linked(page):
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to #{anchor} of {target.name}"
