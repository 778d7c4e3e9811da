"""The code out of a reply: as the original takes it, without the time that its expressions need on a hostile one."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from qwen7b.tasks.code_reading import read_chat_code, read_standard_chat_code

Rows: TypeAlias = Callable[[str], list[dict[str, Any]]]


def test_code_is_taken_as_the_original_takes_it(golden_readings: Rows) -> None:
    for row in golden_readings("humaneval"):
        assert read_chat_code(row["reply"], row["entry_point"]) == row["code"], row["reply"]


def test_hand_made_replies(hand_made: Rows) -> None:
    rows = hand_made("code")
    for row in rows:
        assert read_chat_code(row["reply"], row["entry_point"]) == row["chat"], row["reply"]
    assert len(rows) == 65


def plain_rules(reply: str, entry_point: str) -> str | None:
    """The rules of `read_chat_code` as expressions, which take hours on a hostile reply; None where none matches."""
    in_fence = rf"```.*?def\s+{entry_point}.*?:\n(.*?)\n```"
    indented = r".*?:\n(.*?)(?:\n(?!\n*(?:  |\t))|\Z)"
    for pattern in (in_fence, rf"def\s+{entry_point}{indented}", f"def{indented}"):
        if found := re.search(pattern, reply, re.DOTALL):
            return found[1]
    return None


def test_one_search_for_each_part_finds_what_the_expressions_find() -> None:
    parts = [
        "```",
        "```python\n",
        "\n```",
        "def",
        "def ",
        " ",
        "\t",
        "add",
        "x",
        ":",
        ":\n",
        "\n",
        "\n\n\n",
        "  ",
        "return a",
    ]
    choose = random.Random(13)
    found = 0
    for _ in range(3000):
        reply = "".join(choose.choices(parts, k=choose.randrange(16)))
        if (expected := plain_rules(reply, "add")) is not None:
            found += 1
            assert read_chat_code(reply, "add") == expected, reply
    assert found > 300


def test_a_name_is_not_an_expression() -> None:
    assert read_chat_code("def abb(x):\n    return 1\n\ndef a.b(x):\n    return 2", "a.b") == "    return 2"


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
