"""Whether a reply gives the right number, by every procedure, the original's misreadings included."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from qwen7b.tasks.number_reading import (
    NumberReading,
    read_base_number,
    read_chat_number_2023_08,
    read_chat_number_2023_12,
    read_flexible_number,
    read_strict_number,
)

READERS: dict[str, Callable[[str, str], NumberReading]] = {
    "base-2023-08": read_base_number,
    "chat-2023-08": read_chat_number_2023_08,
    "chat-2023-12": read_chat_number_2023_12,
    "strict-match": read_strict_number,
    "flexible-extract": read_flexible_number,
}


def test_replies_count_as_they_do_for_the_original(golden_readings: Callable[[str], list[dict[str, Any]]]) -> None:
    for row in golden_readings("gsm8k"):
        for procedure, correct in row["correct"].items():
            assert READERS[procedure](row["reply"], row["answer"]).correct is correct, (procedure, row["reply"])


@pytest.mark.parametrize("unit", ["1", "0", ".", "1.", "1,111", "1,11", "00,", "-", "#### 1", "$", "٣", "1٣"])
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_long_hostile_replies_are_read_at_once(reader: Callable[[str, str], NumberReading], unit: str) -> None:
    start = time.perf_counter()
    assert not reader((unit * 100_000)[:100_000], "#### 7").correct
    assert time.perf_counter() - start < 2
