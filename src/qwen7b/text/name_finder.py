"""Finds names of control tokens in texts, however many names there are."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache

_BEGINNING = 3
"""Only this many characters of each name are searched for first: speech models have tens of thousands of names."""


class NameFinder:
    """Finds any of a set of names: at each position the longest, from left to right, without overlaps."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._lengths = sorted({len(name) for name in names}, reverse=True)
        beginnings = {re.escape(name[:_BEGINNING]) for name in names}
        self._beginnings = re.compile("|".join(sorted(beginnings)) if names else r"(?!)")
        self._forwards = sorted(names)
        self._backwards = sorted(name[::-1] for name in names)

    def find(self, text: str) -> Iterator[tuple[int, str]]:
        """The names in a text, each with the place where it begins.

        >>> list(NameFinder(frozenset(["<a>", "<a>b"])).find("x<a><a>bc"))
        [(1, '<a>'), (4, '<a>b')]
        """
        start = 0
        while match := self._beginnings.search(text, start):
            place = match.start()
            if name := self.at(text, place):
                yield place, name
            start = place + max(len(name), 1)

    def at(self, text: str, place: int) -> str:
        """The name that begins at this place; empty where none does."""
        return next((part for length in self._lengths if (part := text[place : place + length]) in self._names), "")

    def ends_with_partial_name(self, text: str) -> bool:
        """Tell whether a text ends with the beginning of a name, which the text after it could complete."""
        return _is_any_a_beginning(self._forwards, [text[-length:] for length in self._partial_lengths(text)])

    def starts_with_partial_name(self, text: str) -> bool:
        """Tell whether a text begins with the end of a name, which the text before it could complete."""
        return _is_any_a_beginning(self._backwards, [text[length - 1 :: -1] for length in self._partial_lengths(text)])

    def _partial_lengths(self, text: str) -> range:
        return range(1, min(max(self._lengths, default=1), len(text) + 1))


def _is_any_a_beginning(ordered: Sequence[str], beginnings: Sequence[str]) -> bool:
    """Tell whether a longer one of the sorted strings starts with any of these beginnings."""
    for beginning in beginnings:
        place = bisect_left(ordered, beginning)
        if place < len(ordered) and ordered[place] == beginning:
            place += 1
        if place < len(ordered) and ordered[place].startswith(beginning):
            return True
    return False


@lru_cache(maxsize=8)
def finder_of(names: frozenset[str]) -> NameFinder:
    return NameFinder(names)
