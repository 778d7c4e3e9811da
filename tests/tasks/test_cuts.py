"""Where generated texts end: the engine stops at the texts at which the original cuts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from qwen7b.generate.stopping import StopStrings
from qwen7b.tasks.cuts import (
    GSM8K_ORIGINAL_CUTS,
    GSM8K_STANDARD_CUTS,
    HUMANEVAL_ORIGINAL_CUTS,
    HUMANEVAL_STANDARD_CUTS,
)


def stopped(text: str, cuts: Sequence[str]) -> str:
    """What comes of a text that the model writes, a character at a time."""
    watcher = StopStrings(cuts)
    return "".join(map(watcher.push, text)) + watcher.flush()


@pytest.mark.parametrize(
    ("cuts", "text", "kept"),
    [
        (GSM8K_ORIGINAL_CUTS, "It is 8.\n\n\nQuestion: 9", "It is 8."),
        (GSM8K_ORIGINAL_CUTS, "It is 8. Question: 9\n\nMore", "It is 8. "),
        (GSM8K_ORIGINAL_CUTS, "\n\nIt is 8.", ""),
        (GSM8K_ORIGINAL_CUTS, "question: 8<|endoftext|>9", "question: 8"),
        (GSM8K_STANDARD_CUTS, "It is 8.\n\n#### 8\nQuestion: 9", "It is 8.\n\n#### 8\n"),
        (GSM8K_STANDARD_CUTS, "#### 8<|im_end|>", "#### 8"),
        (HUMANEVAL_ORIGINAL_CUTS, "    return a\n\ndef other():", "    return a"),
        (HUMANEVAL_ORIGINAL_CUTS, "    c = a\n\n    return c", "    c = a"),
        (HUMANEVAL_ORIGINAL_CUTS, "    def inner(): pass", "    "),
        (HUMANEVAL_ORIGINAL_CUTS, "    undefined = 1\n    defer = 2", "    undefined = 1\n    defer = 2"),
        (HUMANEVAL_ORIGINAL_CUTS, "    x = undef or 1", "    x = un"),
        (HUMANEVAL_STANDARD_CUTS, "    c = a\n\n    return c\nprint(1)\nclass X", "    c = a\n\n    return c"),
        (HUMANEVAL_STANDARD_CUTS, "    # why\n    if a:\n        print(a)", "    # why\n    if a:\n        print(a)"),
    ],
)
def test_a_text_ends_before_the_first_cut(cuts: tuple[str, ...], text: str, kept: str) -> None:
    assert stopped(text, cuts) == kept
    assert stopped(text, cuts[::-1]) == kept


def test_hand_made_code(hand_made: Callable[[str], list[dict[str, Any]]]) -> None:
    for row in hand_made("code"):
        assert stopped(row["reply"], HUMANEVAL_ORIGINAL_CUTS) == row["base"], row["reply"]
        assert stopped(row["reply"], HUMANEVAL_STANDARD_CUTS) == row["standard"], row["reply"]
