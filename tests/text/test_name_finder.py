"""Names are found as a regular expression of all of them finds them, in time that does not grow with their number."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from qwen7b.text.name_finder import NameFinder, finder_of

NAMES = st.frozensets(st.text("<|ab>", min_size=1, max_size=5), max_size=8)
TEXT = st.text("<|ab>c", max_size=30)


@given(NAMES, TEXT)
@settings(deadline=None)
def test_names_are_found_as_by_a_regular_expression(names: frozenset[str], text: str) -> None:
    longest_first = "|".join(map(re.escape, sorted(names, key=len, reverse=True))) or "(?!)"
    expected = [(found.start(), found[0]) for found in re.finditer(longest_first, text)]
    assert list(NameFinder(names).find(text)) == expected


@given(NAMES, TEXT)
@settings(deadline=None)
def test_names_that_an_edge_of_a_text_is_part_of(names: frozenset[str], text: str) -> None:
    lengths = [(name, length) for name in names for length in range(1, len(name))]
    finder = NameFinder(names)
    assert finder.ends_with_partial_name(text) == any(text.endswith(name[:length]) for name, length in lengths)
    assert finder.starts_with_partial_name(text) == any(text.startswith(name[length:]) for name, length in lengths)


def test_tens_of_thousands_of_names_are_one_short_expression() -> None:
    """One of all the names took twenty seconds for this text."""
    names = frozenset(f"<|audio_{number}|>" for number in range(100_000))
    text = "<div>plain text</div>" * 50_000 + "<|audio_99999|>"
    assert [name for _, name in finder_of(names).find(text)] == ["<|audio_99999|>"]
    assert len(finder_of(names)._beginnings.pattern) < 20
    assert finder_of(names).ends_with_partial_name("x<|aud") and not finder_of(names).ends_with_partial_name(
        "x<|audio_1|>"
    )
