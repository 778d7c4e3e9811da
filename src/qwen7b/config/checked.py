"""Checks of settings that a user gives: a value of the wrong type or size raises a SettingError that names it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeGuard

from qwen7b.errors import SettingError, quoted

_MAX_INT = 2**63 - 1
"""The largest integer that torch and C hold."""


def whole_number(name: str, value: object, *, minimum: int, maximum: int | None = None) -> int:
    """A whole number within its bounds.

    >>> whole_number("top_k", 5, minimum=0)
    5
    """
    limit = _MAX_INT if maximum is None else maximum
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= limit:
        is_open = maximum is None and not _is_above(value, limit)
        bounds = f"of at least {minimum}" if is_open else f"from {minimum} to {limit}"
        raise SettingError(f"{name} must be a whole number {bounds}, found {quoted(value)}")
    return value


def items(value: object) -> tuple[Any, ...] | None:
    """The items of an iterable, else None; a zero-dimensional tensor claims to be iterable but is not."""
    try:
        return tuple(value) if isinstance(value, Iterable) else None
    except TypeError:
        return None


def fraction(name: str, value: object) -> float:
    """A number from 0 to 1."""
    if not is_finite(value) or not 0 <= value <= 1:
        raise SettingError(f"{name} must be a number from 0 to 1, found {quoted(value)}")
    return value


def positive_fraction(name: str, value: object) -> float:
    """A number above 0 and up to 1."""
    if fraction(name, value) == 0:
        raise SettingError(f"{name} must be above 0, found {value!r}: for no randomness use greedy decoding")
    return fraction(name, value)


def positive_number(name: str, value: object) -> float:
    if not is_finite(value) or value <= 0:
        raise SettingError(f"{name} must be a number above 0{_exceeded_limit(value)}, found {quoted(value)}")
    return value


def temperature(name: str, value: object) -> float:
    """A number above 0. Callers that read 0 as greedy do so before; for the others the error says it."""
    if is_zero(value):
        raise SettingError(f"{name} must be above 0 for a choice at random, found {value!r}: 0 means Greedy()")
    if not is_finite(value) or value < 0:
        raise SettingError(
            f"{name} must be a number above 0, or 0 to be greedy{_exceeded_limit(value)}, found {quoted(value)}"
        )
    return value


def _exceeded_limit(value: object) -> str:
    """The upper bound, for a message that names the lower one, where a number exceeds it."""
    if isinstance(value, int):
        return f" and at most {_MAX_INT}" if _is_above(value, _MAX_INT) else ""
    return " and finite" if _is_above(value, sys.float_info.max) else ""


def _is_above(value: object, limit: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > limit


def additive_penalty(name: str, value: object) -> float:
    """A number from -2 to 2, OpenAI's range."""
    if not is_finite(value) or not -2 <= value <= 2:
        raise SettingError(f"{name} must be a number from -2 to 2, found {quoted(value)}")
    return value


def flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise SettingError(f"{name} must be True or False, found {quoted(value)}")
    return value


def is_finite(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number that torch accepts."""
    largest = _MAX_INT if isinstance(value, int) else sys.float_info.max
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= largest


def is_zero(value: object) -> bool:
    """Whether a value is the number 0, which as a temperature means greedy."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == 0


SAMPLING_CHECKS: Mapping[str, Callable[[str, object], float]] = {
    "temperature": temperature,
    "top_k": lambda name, value: whole_number(name, value, minimum=0),
    "top_p": positive_fraction,
    "min_p": fraction,
    "repetition_penalty": positive_number,
    "presence_penalty": additive_penalty,
    "frequency_penalty": additive_penalty,
}
"""The check of each sampling setting, wherever it comes from."""

PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty")
"""The sampling settings that apply to a greedy choice too."""
