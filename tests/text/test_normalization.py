"""The same as Python's normal form, but not the square of the time."""

from __future__ import annotations

import sys
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen7b.text.normalization import COMPOSED_MARKS, to_nfc

EVERY_CHARACTER = [chr(code) for code in range(sys.maxunicode + 1)]
MARKS = [character for character in EVERY_CHARACTER if unicodedata.combining(character)]
# What decomposes, composes, blocks, or lies between.
_OTHERS = [*COMPOSED_MARKS, *"aeéǖṩᾅ각ㄱ각가\u0344\u0340\u0f73\u0903\u09be\u09c7\u0bc6\u200d\u034f\U0001d15e"]
characters = st.sampled_from(MARKS) | st.sampled_from("\u0301\u0316\u0327\u0308\u0345\u0f71") | st.sampled_from(_OTHERS)


@given(st.text(characters, max_size=80) | st.text(characters, min_size=60, max_size=200) | st.text())
@settings(max_examples=400)
def test_python_agrees(text: str) -> None:
    assert to_nfc(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("before", ["", "e", "ǖ", "\u0f71"])
def test_characters_among_many_marks(before: str) -> None:
    moving = [c for c in EVERY_CHARACTER if unicodedata.combining(c) or unicodedata.decomposition(c)]
    for character in [*moving, *EVERY_CHARACTER[::97]]:
        text = before + "\u0301\u0316\u0f72" * 6 + character + "\u0345\u0316\u0301" * 6
        assert to_nfc(text) == unicodedata.normalize("NFC", text), hex(ord(character))


def test_what_sorting_relies_on() -> None:
    for character in EVERY_CHARACTER:
        classes = [unicodedata.combining(part) for part in unicodedata.normalize("NFD", character)]
        own = unicodedata.combining(character)
        if own:  # moves as a whole
            assert set(classes) == {own} and unicodedata.category(character).startswith("M")
        elif classes[0]:  # would be missed
            assert COMPOSED_MARKS[character] == unicodedata.normalize("NFD", character)


@pytest.mark.parametrize(
    "marks", ["\u0301\u0316", "\u0f73", "\u0f73\u0301\u0316", "\u0345\u0301\u0300\u0316"], ids=ascii
)
def test_a_hundred_thousand_marks_take_no_time(marks: str) -> None:
    start = time.process_time()
    to_nfc("e" + marks * (100_000 // len(marks)))
    assert time.process_time() - start < 5  # as they are it would be half a minute
