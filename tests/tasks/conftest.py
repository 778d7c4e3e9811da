"""What tests of several tasks share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def golden_readings(shared: Path) -> Callable[[str], list[dict[str, Any]]]:
    """The original's readings of a task's replies: its reference vectors of mode `read`."""

    def rows_of(task: str) -> list[dict[str, Any]]:
        rows = map(json.loads, (shared / "golden" / "evals.jsonl").read_text("utf-8").splitlines())
        found = [row for row in rows if row["mode"] == "read" and row["task"] == task]
        assert len(found) >= 4
        return found

    return rows_of
