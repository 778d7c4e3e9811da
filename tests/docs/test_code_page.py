"""The pages that list every source file and every room."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["docs/code.md", "README.md", "README_CN.md", "CONTRIBUTING.md"])
def test_page_lists_all_as_it_is(name: str) -> None:
    pages = runpy.run_path(str(ROOT / "docs" / "code.py"))["pages"]()
    assert (ROOT / name).read_text("utf-8") == pages[ROOT / name], "run: .venv/bin/python docs/code.py"
