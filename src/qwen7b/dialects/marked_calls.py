"""Reads replies in which a mark stands before every call, and another may follow it."""

from __future__ import annotations

from qwen7b.dialects.call_object import CallReader
from qwen7b.dialects.dialect import CallDelta


class MarkedCallParser:
    """Content, then calls as `CallReader` reads them, each behind the mark `open` and mostly before `close`.

    White space between calls is no content, nor is the line break before the first. A mark with something else behind
    it is content like any other: nothing that the model wrote is lost. See `CallParser`.
    """

    def __init__(self, *, open: str, close: str) -> None:
        self._open, self._close = open, close
        self._held = ""
        self._mark = ""
        """What stands before the call that is being read: content, if that is none."""
        self._reader: CallReader | None = None
        self._count = 0
        self._is_after_call = self._awaits_close = False

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
            if self._reader is None:
                rest = self._find_call(rest, out, is_last=is_last)
            else:
                rest = self._read_call(self._reader, rest, out, is_last=is_last)
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
        self._is_after_call = self._awaits_close = reader.name is not None
        if reader.name is None:
            out.append(self._mark)
        else:
            self._count += 1
        return reader.rest

    def _find_call(self, text: str, out: list[str | CallDelta], *, is_last: bool) -> str | None:
        """Give out what stands before the next mark, and give back what stands behind it, if there is one."""
        if self._is_after_call:
            bare = text.lstrip()
            if self._awaits_close and bare.startswith(self._close):
                self._awaits_close = False
                text = bare[len(self._close) :]
                bare = text.lstrip()
            awaited = (self._close, self._open) if self._awaits_close else (self._open,)
            if not bare.startswith(self._open) and any(mark.startswith(bare) for mark in awaited):
                self._held = "" if is_last else text
                return None
            self._is_after_call = bare.startswith(self._open)
        place = text.find(self._open)
        if place < 0:
            keep = 0 if is_last else _length_of_beginning(text, self._open)
            if not is_last and text[: len(text) - keep].endswith("\n"):
                keep += 1
            self._held = text[len(text) - keep :]
            if keep < len(text):
                out.append(text[: len(text) - keep])
            return None
        before = "" if self._is_after_call else text[:place].removesuffix("\n")
        self._mark = text[len(before) : place + len(self._open)]
        self._reader, self._is_after_call = CallReader(), False
        if before:
            out.append(before)
        return text[place + len(self._open) :]


def _length_of_beginning(text: str, mark: str) -> int:
    """The length of the longest beginning of a mark that a text ends in."""
    return next((length for length in range(min(len(mark), len(text)), 0, -1) if text.endswith(mark[:length])), 0)
