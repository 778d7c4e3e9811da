"""Finds marks in a text that comes in pieces, and the beginnings of marks at its end."""

from __future__ import annotations


def find_first(text: str, marks: tuple[str, ...]) -> tuple[int, str]:
    """The mark that stands first in a text, and where; its end and "" if there is none."""
    places = [(place, mark) for mark in marks if (place := text.find(mark)) >= 0]
    return min(places, default=(len(text), ""))


def split_partial(text: str, marks: tuple[str, ...]) -> tuple[str, str]:
    """A text, and the beginning of a mark at its end."""
    longest = max(map(len, marks), default=1) - 1
    for start in range(max(0, len(text) - longest), len(text)):
        if any(mark.startswith(text[start:]) for mark in marks):
            return text[:start], text[start:]
    return text, ""
