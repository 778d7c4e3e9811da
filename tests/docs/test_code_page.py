"""The page that lists every source file."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_page_lists_every_file_as_it_is() -> None:
    page = runpy.run_path(str(DOCS / "code.py"))["page"]()
    assert (DOCS / "code.md").read_text("utf-8") == page, "run: .venv/bin/python docs/code.py > docs/code.md"
