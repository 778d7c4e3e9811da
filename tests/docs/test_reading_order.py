"""Every file has its place in the order in which a room is read, and every way leads through rooms that are there."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOUSE = runpy.run_path(str(ROOT / "docs" / "rooms.py"))
ROOMS = {path.parent for path in (ROOT / "src" / "qwen7b").glob("*/__init__.py")}


@pytest.mark.parametrize("room", sorted(ROOMS), ids=lambda room: room.name)
def test_every_file_of_a_room_has_its_place(room: Path) -> None:
    named = HOUSE["READING"][room.name].split()
    files = sorted(file.stem for file in room.rglob("*.py") if file.name != "__init__.py")
    assert sorted(named) == files, "docs/rooms.py orders a room's files: give a new one its place, take a gone one out"


def test_a_question_goes_through_rooms_that_are_there() -> None:
    assert {room for room, _ in HOUSE["WAY"]} <= {room.name for room in ROOMS}


def test_no_room_without_a_floor_is_ordered() -> None:
    assert HOUSE["READING"].keys() == {room.name for room in ROOMS}
