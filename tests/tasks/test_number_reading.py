"""Whether a reply gives the right number, by every procedure, the original's misreadings included."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from qwen7b.tasks.number_reading import (
    NumberReading,
    read_base_number,
    read_chat_number_2023_08,
    read_chat_number_2023_12,
    read_flexible_number,
    read_strict_number,
)

Rows: TypeAlias = Callable[[str], list[dict[str, Any]]]

READERS: dict[str, Callable[[str, str], NumberReading]] = {
    "base": read_base_number,
    "chat-2023-08": read_chat_number_2023_08,
    "chat-2023-12": read_chat_number_2023_12,
    "strict-match": read_strict_number,
    "flexible-extract": read_flexible_number,
}


def test_replies_count_as_they_do_for_the_original(golden_readings: Rows) -> None:
    for row in golden_readings("gsm8k"):
        for procedure, correct in row["correct"].items():
            assert READERS[procedure.replace("base-2023-08", "base")](row["reply"], row["answer"]).correct is correct, (
                procedure,
                row["reply"],
            )


@pytest.mark.parametrize(
    ("procedure", "misread"),
    [("base", 68), ("chat-2023-08", 62), ("chat-2023-12", 38), ("strict-match", 105), ("flexible-extract", 55)],
)
def test_hand_made_replies(hand_made: Rows, procedure: str, misread: int) -> None:
    rows = hand_made("numbers")
    for row in rows:
        reading = READERS[procedure](row["reply"], f"6 * 7 = <<6*7=42>>\n{row['answer']}")
        assert reading.correct is row[procedure], (row["reply"], row["answer"])
    assert (len(rows), sum(row[procedure] != row["meant"] for row in rows)) == (136, misread)


@pytest.mark.parametrize(
    ("reply", "base", "chat_2023_08", "chat_2023_12"),
    [
        ("1,080", ("080", False), ("080", None), ("1080", True)),
        ("-3", ("3", False), ("3", True), ("-3", True)),
        ("0.5", ("5", False), ("5", True), ("0.5", True)),
        ("+7", ("7", None), ("7", True), ("7", True)),
        ("x", (None, None), (None, None), (None, None)),
    ],
)
def test_what_the_original_takes_numbers_for(
    reply: str,
    base: tuple[str | None, bool | None],
    chat_2023_08: tuple[str | None, bool | None],
    chat_2023_12: tuple[str | None, bool | None],
) -> None:
    for name, expected in (("base", base), ("chat-2023-08", chat_2023_08), ("chat-2023-12", chat_2023_12)):
        reading = READERS[name](reply, f"#### {reply}")
        assert (reading.predicted, reading.correct) == expected


@pytest.mark.parametrize("answer", ["#### 1.2.3", "#### -,", "#### 08", "42", ""])
def test_the_base_script_stops_at_an_answer_that_is_no_number(answer: str) -> None:
    assert read_base_number("42", answer).correct is None


def test_numbers_beyond_all_measure_are_wrong() -> None:
    for digits in ("9" * 400, "9" * 5000, "0." + "9" * 5000 + "5", "1" + "0" * 400 + ".0"):
        for procedure in ("base", "chat-2023-08", "chat-2023-12"):
            assert READERS[procedure](digits, "#### 42").correct is False
    assert read_chat_number_2023_12("0." + "9" * 5000, "#### 1").correct


def test_no_text_of_a_model_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a reading must not evaluate anything")

    monkeypatch.setattr("builtins.eval", refuse)
    monkeypatch.setattr("builtins.exec", refuse)
    for reader in READERS.values():
        reader("__import__('os').abort() 42", "#### 42")


@pytest.mark.parametrize("unit", ["1", "0", ".", "1.", "1,111", "1,11", "00,", "-", "#### 1", "$", "٣", "1٣"])
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_long_hostile_replies_are_read_at_once(reader: Callable[[str, str], NumberReading], unit: str) -> None:
    start = time.perf_counter()
    assert not reader((unit * 100_000)[:100_000], "#### 7").correct
    assert time.perf_counter() - start < 2
