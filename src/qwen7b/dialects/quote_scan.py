"""Tells whether a mark in a call's arguments is a part of them."""

from __future__ import annotations

from qwen7b.dialects.json_scan import BracketScan


class QuoteScan:
    """Follows a call's arguments as they come: in the strings of an object, and in a fence, marks are none.

    Where a line begins they are marks nevertheless: no string of JSON goes on there, so that the model forgot to end
    it, and goes on to what comes behind a call.

    >>> scan = QuoteScan()
    >>> scan.push('{"text": "the line '), scan.is_quoted
    (None, True)
    >>> scan.push('"}'), scan.is_quoted
    (None, False)
    """

    def __init__(self) -> None:
        self._scan = BracketScan()
        self._opening = self._tail = ""
        self._is_over = False

    def push(self, text: str) -> None:
        """Take in a stretch of the arguments."""
        if not self._opening:
            text = text.lstrip()
            self._opening = text[:1]
        if self._is_over or not text:
            return
        if self._opening == "{":
            self._is_over = self._scan.push(text) is not None
        else:
            self._is_over = self._opening != "`" or "\n```" in self._tail + text
        self._tail = (self._tail + text)[-3:]

    @property
    def is_quoted(self) -> bool:
        """Whether what comes next stands in a string or in a fence, and not at the beginning of a line."""
        if self._is_over or self._tail.endswith("\n"):
            return False
        return self._opening == "`" or self._scan.is_in_string
