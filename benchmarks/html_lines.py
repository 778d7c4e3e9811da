"""The visible text of HTML pages, a block a line."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path


class Lines(HTMLParser):
    """Collects the visible text of a page."""

    BLOCKS = ("p", "div", "td", "th", "li", "h1", "h2", "h3", "h4", "h5", "h6", "br", "title")
    HIDDEN = ("script", "style", "title")

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.hidden += tag in self.HIDDEN
        if tag in self.BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in self.HIDDEN
        if tag in self.BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(data)


def lines_of_page(page: Path) -> list[str]:
    """The lines of a page, white space as single spaces, without empty ones."""
    parser = Lines()
    parser.feed(page.read_text(encoding="utf-8"))
    lines = (" ".join(line.split()) for line in "".join(parser.parts).split("\n"))
    return [line for line in lines if line]
