r"""Whether a reply to a GSM8K question gives the right number, by the rules of each procedure.

- The original's base script takes the reply's last run of digits, at all times: 1,080 is read as 80 with a zero before
  it, which is no number; -3 as 3; 0.5 as 5.
- Its chat script did the same in 2023-08, and to the official answer too, so that two equal misreadings count as right.
  By 2023-12 it read signs, commas and decimals in both, and allowed for a difference of 0.0001.
- lm-eval compares texts: 18.00 is not 18.

The original evaluates what it found as Python; here that is done by `_literal_value`, which knows numbers only.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_DIGITS = re.compile(r"\d+")
_STATED = re.compile(r"#### (-?[0-9.,]+)")
_NUMBER = re.compile(r"[+-]?(?=\.?[0-9])(?:0|[1-9]\d{0,2}(?:,\d{3})*|\d*)(?:\.\d*)?(?!\d)")
_LOOSE_NUMBER = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
_LITERAL = re.compile(r"-?(?:(?:0+|[1-9][0-9]*)|[0-9]+\.[0-9]*|\.[0-9]+)")
_CLOSING_POINT = re.compile(r"\.$")
_MAX_DIGITS = 4300
"""Python reads no longer integer, unless told to."""


@dataclass(frozen=True, kw_only=True)
class NumberReading:
    """What a reply to a GSM8K question answers."""

    predicted: str | None
    """The text of the number; None where there is none."""
    correct: bool | None
    """None where the original's script stops with an error, as it cannot read the official answer."""


def read_base_number(reply: str, answer: str) -> NumberReading:
    """The original's base script reads the last run of digits; of the official answer the number after `####`."""
    predicted = _last(_DIGITS, reply)
    stated = _STATED.search(answer)
    expected = stated[1].replace(",", "") if stated else None
    value = _literal_value(expected)
    correct = None if value is None else _literal_value(predicted) == value
    return NumberReading(predicted=predicted, correct=correct)


def read_chat_number_2023_08(reply: str, answer: str) -> NumberReading:
    """The original's chat script of 2023-08 reads the last run of digits, in the official answer too.

    An official answer like 1,080 ends in digits that are no Python number, 080, and the script stops there.
    """
    predicted, expected = _last(_DIGITS, reply), _last(_DIGITS, answer)
    value = _literal_value(expected)
    correct = None if value is None else _literal_value(predicted) == value
    return NumberReading(predicted=predicted, correct=correct)


def read_chat_number_2023_12(reply: str, answer: str) -> NumberReading:
    """The original's chat script of 2023-12 reads the last number with its sign, commas and decimals, in both.

    Commas must part it into thousands; else the number begins after the comma.
    """
    predicted, expected = (
        number and number.replace(",", "").replace("+", "")
        for number in (_last(_NUMBER, reply), _last(_NUMBER, answer))
    )
    if expected is None:
        return NumberReading(predicted=predicted, correct=None)
    return NumberReading(predicted=predicted, correct=_are_close(predicted, expected))


def read_strict_number(reply: str, answer: str) -> NumberReading:
    """lm-eval's `strict-match` takes the first number that stands after `#### `."""
    stated = _STATED.search(reply)
    return _compare_texts(stated[1] if stated else None, answer)


def read_flexible_number(reply: str, answer: str) -> NumberReading:
    """lm-eval's `flexible-extract` takes the last number, or what looks like one: "..." and "$." do too."""
    return _compare_texts(_last(_LOOSE_NUMBER, reply), answer)


def _compare_texts(predicted: str | None, answer: str) -> NumberReading:
    """lm-eval's exact match, which ignores commas, dollar signs, all up to `#### `, and a full stop at the end."""
    predicted, expected = (
        text and _CLOSING_POINT.sub("", text.replace(",", "").replace("$", "").rpartition("#### ")[2])
        for text in (predicted, answer)
    )
    expected = expected and expected.lower()
    return NumberReading(predicted=predicted, correct=predicted == expected)


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    last = None
    for match in pattern.finditer(text):
        last = match
    return last[0] if last else None


def _literal_value(text: str | None) -> int | float | None:
    """What Python makes of a number in its source, where 080 is none; None for what is none."""
    if text is None or not _LITERAL.fullmatch(text):
        return None
    if "." in text:
        return float(text)
    return int(text) if len(text.removeprefix("-")) <= _MAX_DIGITS else None


def _are_close(predicted: str | None, expected: str) -> bool:
    values = _literal_value(expected), _literal_value(predicted)
    if values[0] is None or values[1] is None:
        return False
    try:
        return math.isclose(values[0], values[1], rel_tol=0, abs_tol=1e-4)
    except OverflowError:  # an integer beyond all floating-point numbers
        return False
