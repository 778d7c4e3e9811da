"""Reads replies in which calls are objects with a name and arguments, and marks stand around them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import regex

from qwen7b.dialects.call_object import CallReader
from qwen7b.dialects.dialect import CallDelta


@dataclass(frozen=True, slots=True)
class CallMarks:
    """What stands around calls, as patterns; none may need to look at what stands before it.

    opening  what stands before a call, one character or more. The reply counts as if a line break stood before it.
    closing  what may stand behind a call, and white space before that
    next     what stands before a call that follows another, `closing` included
    """

    opening: regex.Pattern[str]
    closing: regex.Pattern[str]
    next: regex.Pattern[str]


class CallTextParser:
    """Content, then calls as `CallReader` reads them.

    White space between calls is no content, nor is the line break before the first. A mark with something else behind
    it is content like any other: nothing that the model wrote is lost. See `CallParser`.

    names  the tools that may be called; None where what is marked is a call whatever it is called
    """

    is_quoting = False
    """Nothing stops replies in these dialects."""

    def __init__(self, marks: CallMarks, *, names: Collection[str] | None) -> None:
        self._marks, self._names = marks, names
        self._held = "\n"
        self._has_line_break = True
        """Whether what is held begins with a line break that is not the reply's."""
        self._mark = ""
        """What stands before the call that is being read: content, if that is none."""
        self._reader: CallReader | None = None
        self._count = 0
        self._is_after_call = False

    def push(self, text: str) -> list[str | CallDelta]:
        """Take in a stretch, and give out what is settled by it."""
        return self._advance(text, is_last=False)

    def flush(self) -> list[str | CallDelta]:
        """Give out what was held back."""
        return self._advance("", is_last=True)

    def _advance(self, text: str, *, is_last: bool) -> list[str | CallDelta]:
        out: list[str | CallDelta] = []
        rest: str | None = self._held + text
        self._held = ""
        while rest is not None:
            if self._reader is not None:
                rest = self._read_call(self._reader, rest, out, is_last=is_last)
            elif self._is_after_call:
                rest = self._read_between(rest, is_last=is_last)
            else:
                rest = self._read_content(rest, out, is_last=is_last)
        return out

    def _read_call(self, reader: CallReader, text: str, out: list[str | CallDelta], *, is_last: bool) -> str | None:
        """Read on, and give back the text behind the call, if that has ended."""
        is_new = reader.name is None
        arguments = reader.push(text)
        if is_last:
            reader.flush()
        if reader.name is not None and (is_new or arguments):
            out.append(CallDelta(self._count, arguments, reader.name if is_new else None))
        if reader.rest is None:
            return None
        self._reader = None
        self._is_after_call = reader.name is not None
        if reader.name is None:
            self._give(self._mark, out)
            return reader.rest
        self._count += 1
        self._has_line_break = False
        return reader.rest

    def _read_between(self, text: str, *, is_last: bool) -> str | None:
        """Leave out what closes a call, and what stands before the next if that follows."""
        start = self._end_of(self._marks.closing.match(text))
        found = self._marks.next.match(text, partial=True)
        if found is not None and not found.partial:
            return self._begin_call(text, start, found.end())
        is_object = is_last and "{" in text  # it is cut off, and so content, which marks alone are not
        if found is not None and found.end() == len(text) and not is_object:
            self._held = "" if is_last else text
            return None
        self._is_after_call = False
        return text[start:]

    def _read_content(self, text: str, out: list[str | CallDelta], *, is_last: bool) -> str | None:
        """Give out what stands before the next mark, and give back what stands behind it, if there is one."""
        found = self._marks.opening.search(text, partial=not is_last)
        end = len(text) if found is None else found.start()
        self._give(text[:end], out)
        if found is not None and not found.partial:
            return self._begin_call(text, end, found.end())
        self._held = text[end:]
        return None

    def _begin_call(self, text: str, start: int, end: int) -> str:
        self._mark, self._is_after_call = text[start:end], False
        self._reader = CallReader(names=self._names)
        return text[end:]

    def _give(self, text: str, out: list[str | CallDelta]) -> None:
        if text and self._has_line_break:
            text, self._has_line_break = text[1:], False
        if text:
            out.append(text)

    @staticmethod
    def _end_of(match: Any) -> int:
        return 0 if match is None else match.end()
