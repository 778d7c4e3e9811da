"""The letter out of a chat reply: as the original reads it, in both languages and at both times."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from qwen7b.errors import MissingExtraError
from qwen7b.tasks.choice_reading import (
    CHINESE_2023_08,
    CHINESE_2023_12,
    ChoiceReading,
    check_fuzzy_match,
    read_chinese_choice,
    read_english_choice,
)

Rows: TypeAlias = Callable[[str], list[dict[str, Any]]]

MUSCLES = {"A": "Motor neurons", "B": "Skeletal muscles", "C": "Melanocytes", "D": "Sweat glands"}
ENGLISH_ITEMS = {
    "muscles": MUSCLES,
    "numbers": {"A": "0", "B": "1", "C": "2", "D": "3"},
    "pair": {"A": "Only I", "B": "Only II", "C": "Both I and II", "D": "Neither I nor II"},
    "mixed": {"A": "Both B and C", "B": "Option C", "C": "None", "D": "All of the above."},
}
SEASONS = {"A": "春季", "B": "夏季", "C": "秋季", "D": "冬季"}
HARVEST = "水稻的收割季节是____。"
CHINESE_ITEMS = {
    "seasons": (HARVEST, SEASONS),
    "layers": (
        "在OSI参考模型中，负责路由选择的是____。",
        {"A": "物理层", "B": "数据链路层", "C": "网络层", "D": "传输层"},
    ),
    "rivers": ("____是中国最长的河流，全长约6300公里。", {"A": "黄河", "B": "长江", "C": "珠江", "D": "淮河"}),
    "sum": ("2+3等于多少？", {"A": "4", "B": "5", "C": "6", "D": "以上都不对"}),
}
RULES = {"2023-08": CHINESE_2023_08, "2023-12": CHINESE_2023_12}


def test_english_replies_read_as_the_original_reads_them(
    golden_readings: Rows,
) -> None:
    pytest.importorskip("thefuzz")
    for row in golden_readings("mmlu"):
        assert read_english_choice(row["reply"], row["choices"]).letter == row["read"], row["reply"]


@pytest.mark.parametrize("patterns", RULES.values(), ids=RULES)
def test_chinese_replies_read_as_the_original_reads_them(golden_readings: Rows, patterns: Any) -> None:
    pytest.importorskip("thefuzz")
    for row in golden_readings("ceval"):
        reading = read_chinese_choice(row["reply"], row["question"], row["choices"], patterns)
        assert reading.letter == row["read"], row["reply"]


def test_hand_made_english_replies(hand_made: Rows) -> None:
    pytest.importorskip("thefuzz")
    rows = hand_made("english_choices")
    for row in rows:
        reading = read_english_choice(row["reply"], ENGLISH_ITEMS[row["item"]])
        assert reading == ChoiceReading(letter=row["read"], fuzzy=row["fuzzy"]), row["reply"]
    assert (len(rows), sum(row["read"] != row["meant"] for row in rows)) == (117, 36)


@pytest.mark.parametrize(("date", "misread"), [("2023-08", 40), ("2023-12", 38)])
def test_hand_made_chinese_replies(hand_made: Rows, date: str, misread: int) -> None:
    pytest.importorskip("thefuzz")
    rows = hand_made("chinese_choices")
    for row in rows:
        reading = read_chinese_choice(row["reply"], *CHINESE_ITEMS[row["item"]], RULES[date])
        assert reading == ChoiceReading(letter=row[date], fuzzy=row["fuzzy"]), row["reply"]
    assert (len(rows), sum(row[date] != row["meant"] for row in rows)) == (113, misread)


def test_the_two_sets_of_chinese_rules_differ() -> None:
    read = {
        reply: [read_chinese_choice(reply, HARVEST, SEASONS, patterns).letter for patterns in RULES.values()]
        for reply in ("A。所以选：D）", "A，不，选 C。", "A、B错误，C对", "C。A对B有影响")
    }
    assert read == {
        "A。所以选：D）": ["A", "D"],
        "A，不，选 C。": ["A", "C"],
        "A、B错误，C对": ["C", "A"],
        "C。A对B有影响": ["A", "C"],
    }


def test_an_empty_option_stands_between_all_letters_as_in_the_original() -> None:
    choices = {"A": "x", "B": "y", "C": "z", "D": "."}
    assert read_english_choice("?", choices).letter == "D"
    assert read_chinese_choice("？", HARVEST, {**choices, "D": ""}, CHINESE_2023_12).letter == "D"


def test_a_reply_without_a_letter_is_read_by_likeness() -> None:
    pytest.importorskip("thefuzz")
    assert read_english_choice("Sweaty glands", MUSCLES) == ChoiceReading(letter="D", fuzzy=True)


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
    with pytest.raises(MissingExtraError):
        check_fuzzy_match()


@pytest.mark.parametrize(
    "unit", ["answer is: be answer ", "answer\n", "A not ", "choose ", "答案是：", "选项为", "选 ", "A不正确"]
)
def test_long_hostile_replies_are_read_at_once(unit: str) -> None:
    pytest.importorskip("thefuzz")
    reply = (unit * 100_000)[:100_000]
    start = time.perf_counter()
    read_english_choice(reply, MUSCLES)
    for patterns in (CHINESE_2023_08, CHINESE_2023_12):
        read_chinese_choice(reply, HARVEST, SEASONS, patterns)
    assert time.perf_counter() - start < 5
