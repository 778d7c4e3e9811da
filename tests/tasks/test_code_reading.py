"""The code out of a reply: as the original takes it, without the time that its expressions need on a hostile one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from qwen7b.tasks.code_reading import read_chat_code, read_standard_chat_code


def test_code_is_taken_as_the_original_takes_it(golden_readings: Callable[[str], list[dict[str, Any]]]) -> None:
    for row in golden_readings("humaneval"):
        assert read_chat_code(row["reply"], row["entry_point"]) == row["code"], row["reply"]


def test_the_standard_reading_ends_at_the_next_fence() -> None:
    assert read_standard_chat_code("    return a\n```\nIt adds.\n```") == "    return a\n"
    assert read_standard_chat_code("    return a\n") == "    return a\n"


@pytest.mark.parametrize(
    "unit", ["```def add:\n", "```", "def add:\n", "def add", "def ", "def\t \n", ":\n", "\n", "\n  x"]
)
def test_long_hostile_replies_are_read_at_once(unit: str) -> None:
    start = time.perf_counter()
    for reply in (
        unit * 10_000,
        f"```def add:\n{unit * 10_000}  x",
        unit * 5_000 + "def add:\n  x" + "\n" * 50_000 + "\n  x",
    ):
        read_chat_code(reply, "add")
    assert time.perf_counter() - start < 2
