"""Settings as a user gave them, checked: what has the wrong type or size becomes a SettingError that names it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeGuard

from qwen7b.errors import SettingError, quoted

_MAX_WHOLE = 2**63 - 1
"""What torch and C hold."""


def whole_number(name: str, value: object, *, minimum: int, maximum: int | None = None) -> int:
    """
    >>> whole_number("top_k", 5, minimum=0)
    5
    """
    limit = _MAX_WHOLE if maximum is None else maximum
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= limit:
        is_open = maximum is None and not _is_above(value, limit)
        span = f"of at least {minimum}" if is_open else f"from {minimum} to {limit}"
        raise SettingError(f"{name} must be a whole number {span}, found {quoted(value)}")
    return value


def items(value: object) -> tuple[Any, ...] | None:
    """The items of a value that has some, else None. A tensor without dimensions only looks as if it had."""
    try:
        return tuple(value) if isinstance(value, Iterable) else None
    except TypeError:
        return None


def fraction(name: str, value: object) -> float:
    """A number from 0 to 1."""
    if not is_finite(value) or not 0 <= value <= 1:
        raise SettingError(f"{name} must be a number from 0 to 1, found {quoted(value)}")
    return value


def share(name: str, value: object) -> float:
    """A number above 0 and up to 1."""
    if fraction(name, value) == 0:
        raise SettingError(f"{name} must be above 0, found {value!r}: for no randomness use greedy decoding")
    return fraction(name, value)


def positive_number(name: str, value: object) -> float:
    if not is_finite(value) or value <= 0:
        raise SettingError(f"{name} must be a number above 0{_limit_met(value)}, found {quoted(value)}")
    return value


def temperature(name: str, value: object) -> float:
    """A number above 0; that 0 means greedy is known where this is asked, or told here."""
    if is_zero(value):
        raise SettingError(f"{name} must be above 0 for a choice at random, found {value!r}: 0 means Greedy()")
    if not is_finite(value) or value < 0:
        raise SettingError(
            f"{name} must be a number above 0, or 0 to be greedy{_limit_met(value)}, found {quoted(value)}"
        )
    return value


def _limit_met(value: object) -> str:
    """What to add to a bound from below where a number is too large."""
    if isinstance(value, int):
        return f" and at most {_MAX_WHOLE}" if _is_above(value, _MAX_WHOLE) else ""
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
    """Whether it is a number that torch takes."""
    largest = _MAX_WHOLE if isinstance(value, int) else sys.float_info.max
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= largest


def is_zero(value: object) -> bool:
    """Whether it is the number 0, which as a temperature means greedy."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == 0


SAMPLING_CHECKS: Mapping[str, Callable[[str, object], float]] = {
    "temperature": temperature,
    "top_k": lambda name, value: whole_number(name, value, minimum=0),
    "top_p": share,
    "min_p": fraction,
    "repetition_penalty": positive_number,
    "presence_penalty": additive_penalty,
    "frequency_penalty": additive_penalty,
}
"""What the settings of sampling may be, wherever they come from."""

PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty")
"""Those of them that a greedy choice heeds too."""
