"""Messages stay short, whatever they quote."""

from __future__ import annotations

from typing import Any

import pytest

from qwen7b.errors import CheckpointError, SettingError, quoted


def deep(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    ["a" * 10**6, b"a" * 10**6, 10**5000, -(10**5000), [0] * 10**6, {n: n for n in range(10**5)}, deep(100_000), {"a"}],
    ids=lambda value: type(value).__name__,
)
def test_a_quoted_value_is_a_line_at_most(value: object) -> None:
    assert 0 < len(quoted(value)) <= 120
    assert "\n" not in quoted([value, "\n"])


def test_short_values_are_quoted_whole() -> None:
    for value in ("x", 5, 1.5, None, True, [1, 2], {"a": 1}, "transformer.h.31.attn.c_attn.weight"):
        assert quoted(value) == repr(value)


def test_a_message_keeps_its_beginning_and_its_end() -> None:
    message = str(CheckpointError("the beginning " + "x" * 10**6 + " the end"))
    assert message.startswith("the beginning") and message.endswith("the end") and len(message) < 2100
    assert str(SettingError("short")) == "short"
