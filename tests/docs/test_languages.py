"""Pages in English and Chinese say the same things in the same order, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
CHINESE = sorted([*ROOT.glob("*_CN.md"), *(ROOT / "docs").glob("*_CN.md")])
ENGLISH = [page.with_name(page.name.replace("_CN", "")) for page in CHINESE]
PAIRS = list(zip(ENGLISH, CHINESE, strict=True))
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")})


def structure(page: Path) -> list[str]:
    """Headings, paragraphs, list items, table rows and the like, in order, without words; fenced code with them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text("utf-8"))
    return [
        f"{token.tag} {token.type} {token.info} {without_comments(token.content) if token.type == 'fence' else ''}"
        for token in tokens
        if token.type != "inline"
    ]


def without_comments(code: str) -> str:
    return "\n".join(re.sub(r"(^|\s+)# .*", "", line) for line in code.splitlines())


def anchors(page: Path) -> set[str]:
    """Those of the headings, as hubs make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=lambda page: page.name)
def test_both_languages_are_in_step(english: Path, chinese: Path) -> None:
    assert structure(chinese) == structure(english)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        other = page.parent / name if name else page
        assert other.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(other), f"{page.name} links to {target}"
