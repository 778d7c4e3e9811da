"""What tests of several tasks share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

Rows: TypeAlias = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def golden_rows(shared: Path) -> list[dict[str, Any]]:
    """What the original's scripts make of official items: prompts, and readings of replies."""
    return [json.loads(line) for line in (shared / "golden" / "evals.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture
def golden_readings(golden_rows: list[dict[str, Any]]) -> Rows:
    """The original's readings of a task's replies: its reference vectors of mode `read`."""

    def rows_of(task: str) -> list[dict[str, Any]]:
        found = [row for row in golden_rows if row["mode"] == "read" and row["task"] == task]
        assert len(found) >= 4
        return found

    return rows_of


@pytest.fixture
def hand_made() -> Rows:
    """Replies written by hand, right and tricky: what a reader takes each to mean, and what each procedure reads."""

    def rows_of(table: str) -> list[dict[str, Any]]:
        lines = Path(__file__).with_name("replies").joinpath(f"{table}.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]

    return rows_of
