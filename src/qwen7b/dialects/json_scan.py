"""Finds where a JSON value ends in a text that comes in pieces, without asking whether it is good JSON."""

from __future__ import annotations


class BracketScan:
    """Follows a text to the bracket that closes its first one. Brackets in strings do not count.

    Strings may stand in single quotes, as in JSON5. What no JSON has outside of strings, "<" or a backquote, breaks off
    the scan: there the model has gone on to something else.

    >>> scan = BracketScan()
    >>> scan.push('{"a": "}'), scan.push('"} and')
    (None, 2)
    """

    def __init__(self, depth: int = 0) -> None:
        """`depth` is the number of brackets that are open already."""
        self.depth = depth
        self.is_broken = False
        self._quote = ""
        self._is_escaped = False

    @property
    def is_in_string(self) -> bool:
        return bool(self._quote)

    def push(self, text: str) -> int | None:
        """The place behind the closing bracket, or that of the character that breaks off; None if it is yet to come."""
        for place, character in enumerate(text):
            if self._quote:
                if self._is_escaped:
                    self._is_escaped = False
                elif character == "\\":
                    self._is_escaped = True
                elif character == self._quote:
                    self._quote = ""
            elif character in "\"'":
                self._quote = character
            elif character in "{[":
                self.depth += 1
            elif character in "}]":
                self.depth -= 1
                if self.depth <= 0:
                    return place + 1
            elif character in "<`":
                self.is_broken = True
                return place
        return None


def is_whole_object(text: str) -> bool:
    """Whether a scan of this text, which begins with "{", ends with its last character."""
    scan = BracketScan()
    return text.startswith("{") and scan.push(text) == len(text) and not scan.is_broken
