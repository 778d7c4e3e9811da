"""Settings as a user gave them, checked: what has the wrong type or size becomes a SettingError that names it."""

from __future__ import annotations

import math

from qwen7b.errors import SettingError


def whole_number(name: str, value: object, *, least: int, most: int | None = None) -> int:
    """
    >>> whole_number("top_k", 5, least=0)
    5
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise SettingError(f"{name} must be a whole number {span}, found {value!r}")
    return value


def fraction(name: str, value: object) -> float:
    """A number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise SettingError(f"{name} must be a number from 0 to 1, found {value!r}")
    return value


def positive_number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise SettingError(f"{name} must be a number above 0, found {value!r}")
    return value
