"""Settings of the wrong type or size are a SettingError."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from qwen7b.config.checked import fraction, items, positive_number, temperature, whole_number
from qwen7b.errors import SettingError

NO_NUMBERS = [10**400, -(10**400), 10**5000, math.inf, -math.inf, math.nan, "1", b"1", None, True, [1], 1j, object()]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
def test_what_is_no_number(value: object) -> None:
    with pytest.raises(SettingError, match="temperature must be a number"):
        positive_number("temperature", value)
    with pytest.raises(SettingError, match="top_p must be a number from 0 to 1"):
        fraction("top_p", value)
    with pytest.raises(
        SettingError, match=r"top_k must be a whole number (of at least 0|from 0 to 9223372036854775807)"
    ):
        whole_number("top_k", value, minimum=0)


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (partial(whole_number, minimum=0), 2**63, "x must be a whole number from 0 to 9223372036854775807, found 9223"),
        (partial(whole_number, minimum=2), -1, "x must be a whole number of at least 2, found -1"),
        (partial(whole_number, minimum=2, maximum=9), 10**30, "x must be a whole number from 2 to 9, found 1000"),
        (positive_number, 2**63, "x must be a number above 0 and at most 9223372036854775807, found 9223"),
        (positive_number, math.inf, "x must be a number above 0 and finite, found inf"),
        (positive_number, -math.inf, "x must be a number above 0, found -inf"),
        (temperature, -1, "x must be a number above 0, or 0 to be greedy, found -1"),
        (temperature, 2**63, "x must be a number above 0, or 0 to be greedy and at most 9223372036854775807, found 9"),
        (temperature, 0, "x must be above 0 for a choice at random, found 0: 0 means Greedy()"),
    ],
)
def test_messages_name_the_bound_that_was_crossed(check: Callable, value: object, message: str) -> None:
    with pytest.raises(SettingError, match=re.escape(message)):
        check("x", value)


def test_bounds() -> None:
    assert whole_number("seed", 2**63 - 1, minimum=0) == 2**63 - 1
    assert positive_number("rope_base", 1e308) == 1e308
    for value in (2**63, -1):
        with pytest.raises(SettingError, match="must be a whole number"):
            whole_number("seed", value, minimum=0)


def test_what_can_be_listed() -> None:
    assert items(iter("ab")) == ("a", "b")
    assert items({}) == ()
    assert items(5) is None

    class NoDimensions:
        def __iter__(self) -> Iterator[int]:
            raise TypeError("iteration over a 0-d tensor")

    assert items(NoDimensions()) is None
