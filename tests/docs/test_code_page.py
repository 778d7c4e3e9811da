"""The pages and the picture that are made from the code."""

from __future__ import annotations

import runpy
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = runpy.run_path(str(ROOT / "docs" / "code.py"))
PAGES: dict[Path, str] = CODE["pages"]()
RUN = "run: .venv/bin/python docs/code.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_says_all_as_it_is(page: Path) -> None:
    assert page.read_text("utf-8") == PAGES[page], RUN


def test_no_page_is_left_of_a_room_that_is_gone() -> None:
    assert set((ROOT / "docs" / "code").iterdir()) == {page for page in PAGES if page.parent.name == "code"}, RUN


def test_the_picture_shows_every_room_on_its_floor_and_about_how_large_it_is() -> None:
    """Exact numbers would change the picture at every commit."""
    groups = ET.parse(CODE["PICTURE"]).getroot().findall("{*}g")
    floors = [[room for room in floor if room not in CODE["HIDDEN"]] for floor in reversed(CODE["FLOORS"])]
    assert [group.get("id") for group in groups] == [room for floor in floors for room in floor], RUN
    height = {group.get("id"): group[0].get("y") for group in groups}
    assert [len({height[room] for room in floor}) for floor in floors if floor] == [1] * len(set(height.values()))
    for group in groups:
        shown = int((group.findall("{*}text")[-1].text or "").replace(",", ""))
        assert shown == pytest.approx(CODE["lines_of"](group.get("id")), rel=0.2, abs=100), RUN
