"""Whatever a tool returns becomes a text for the model."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from qwen7b.tools.tool_result import cut_text, result_text


@dataclass
class Place:
    name: str
    inner: Any = None


class Model(BaseModel):
    day: datetime.date


class Colour(Enum):
    RED = "red"


circle: list[Any] = []
circle.append(circle)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ""),
        ("a\nb", "a\nb"),
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ({"城市": ["北京"]}, '{"城市": ["北京"]}'),
        ("字".encode(), "字"),
        (b"\xff\x00", "[binary data: 2 bytes]"),
        ({"data": bytearray(b"\xff")}, '{"data": "[binary data: 1 byte]"}'),
        (Place("Paris", Place("Louvre")), '{"name": "Paris", "inner": {"name": "Louvre", "inner": null}}'),
        (Model(day=datetime.date(2026, 1, 2)), '{"day": "2026-01-02"}'),
        ([Colour.RED, {3}, Path("a/b"), 2 + 3j], '["red", [3], "a/b", "(2+3j)"]'),
        (torch.tensor([[1, 2]]), "[[1, 2]]"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (circle, "[[...]]"),
        ({"kind": int}, """{"kind": "<class 'int'>"}"""),
    ],
)
def test_results_as_text(value: object, expected: str) -> None:
    assert result_text(value) == expected


@given(st.text(max_size=600), st.integers(200, 400))
def test_a_cut_text_keeps_its_ends_and_is_not_cut_again(text: str, limit: int) -> None:
    cut = cut_text(text, limit)
    assert len(cut) <= limit and cut_text(cut, limit) == cut
    assert cut[:60] == text[:60] and (not text or cut[-60:] == text[-60:])
    assert (cut == text) == (len(text) <= limit)
