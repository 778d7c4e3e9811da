"""`make quick` touches every room."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_quick_tests_are_there_and_touch_every_room() -> None:
    choice = re.search(r"^QUICK := \$\(addprefix tests/,(.*?)\)$", (ROOT / "Makefile").read_text("utf-8"), re.M | re.S)
    assert choice is not None
    paths = [Path(path.partition("::")[0]) for path in choice[1].replace("\\\n", " ").split()]
    assert [path for path in paths if not (ROOT / "tests" / path).exists()] == []
    rooms = runpy.run_path(str(ROOT / "docs" / "rooms.py"))["READING"]
    assert set(rooms) <= {path.parts[0] for path in paths}
