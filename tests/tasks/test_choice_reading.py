"""The letter out of a chat reply: as the original reads it, in both languages and at both times."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from qwen7b.errors import MissingExtraError
from qwen7b.tasks.choice_reading import (
    CHINESE_2023_08,
    CHINESE_2023_12,
    ChoiceReading,
    read_chinese_choice,
    read_english_choice,
)

MUSCLES = {"A": "Motor neurons", "B": "Skeletal muscles", "C": "Melanocytes", "D": "Sweat glands"}
SEASONS = {"A": "春季", "B": "夏季", "C": "秋季", "D": "冬季"}
HARVEST = "水稻的收割季节是____。"


def test_english_replies_read_as_the_original_reads_them(
    golden_readings: Callable[[str], list[dict[str, Any]]],
) -> None:
    pytest.importorskip("thefuzz")
    for row in golden_readings("mmlu"):
        assert read_english_choice(row["reply"], row["choices"]).letter == row["read"], row["reply"]


@pytest.mark.parametrize("patterns", [CHINESE_2023_08, CHINESE_2023_12], ids=["2023-08", "2023-12"])
def test_chinese_replies_read_as_the_original_reads_them(
    golden_readings: Callable[[str], list[dict[str, Any]]], patterns: Any
) -> None:
    pytest.importorskip("thefuzz")
    for row in golden_readings("ceval"):
        reading = read_chinese_choice(row["reply"], row["question"], row["choices"], patterns)
        assert reading.letter == row["read"], row["reply"]


def test_a_reply_without_a_letter_is_read_by_likeness_or_not_at_all() -> None:
    pytest.importorskip("thefuzz")
    assert read_english_choice("Sweaty glands", MUSCLES) == ChoiceReading(letter="D", fuzzy=True)
    assert read_english_choice("Sweaty glands", MUSCLES, fuzzy=False) == ChoiceReading(letter=None, fuzzy=False)


def test_among_equally_unlike_options_the_first_is_taken_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("thefuzz")
    for reply in ("", "…", "!?", "\n"):
        assert read_english_choice(reply, MUSCLES) == ChoiceReading(letter="A", fuzzy=True)
        assert read_chinese_choice(reply, HARVEST, SEASONS, CHINESE_2023_12) == ChoiceReading(letter="A", fuzzy=True)
    assert not caplog.records


def test_a_missing_library_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "thefuzz.process", None)
    assert read_english_choice("A.", MUSCLES).letter == "A"
    with pytest.raises(MissingExtraError, match=r"thefuzz is not installed: run .*pip.* install .*\[eval\]"):
        read_english_choice("none", MUSCLES)


@pytest.mark.parametrize(
    "unit", ["answer is: be answer ", "answer\n", "A not ", "choose ", "答案是：", "选项为", "选 ", "A不正确"]
)
def test_long_hostile_replies_are_read_at_once(unit: str) -> None:
    reply = (unit * 100_000)[:100_000]
    start = time.perf_counter()
    read_english_choice(reply, MUSCLES, fuzzy=False)
    for patterns in (CHINESE_2023_08, CHINESE_2023_12):
        read_chinese_choice(reply, HARVEST, SEASONS, patterns, fuzzy=False)
    assert time.perf_counter() - start < 5
