"""Reads replies of the dialect `qwen-fn` as they come."""

from __future__ import annotations

from collections.abc import Collection

from qwen7b.dialects.dialect import CallDelta
from qwen7b.dialects.marks import find_first, split_partial
from qwen7b.dialects.quote_scan import QuoteScan
from qwen7b.dialects.staged_parser import Item, StagedParser

FLOWER = "✿"
FUNCTION, ARGS, RESULT, RETURN = "✿FUNCTION✿:", "✿ARGS✿:", "✿RESULT✿", "✿RETURN✿"
_ENDS = (FUNCTION, RESULT, RETURN)
MARKS = (ARGS, *_ENDS)
_CLOSINGS = (("```", "\n```"), ("{", "}"))
"""How arguments begin, and what ends them then."""


class QwenFnParser(StagedParser):
    """Content, then calls, up to a mark that stands before a result or an answer: what follows that is dropped.

    As Qwen-Agent reads them, but that strings and fences in arguments may contain marks (see `QuoteScan`): the content
    loses line breaks before it, white space behind it and the colon of ✿RETURN✿; arguments lose what follows their last
    bracket or fence; several ✿ARGS✿ are several calls; half a mark at the end is dropped. A function without arguments
    is a call only if it is one of `names`, as it may be cut off; else it is content. See `CallParser`.
    """

    def __init__(self, *, names: Collection[str]) -> None:
        super().__init__(self._read_beginning)
        self._names = names
        self._space = ""
        """White space behind the content so far, which is content if more follows."""
        self._name, self._count = "", 0
        self._has_arguments = self._is_closed = False
        self._closing: str | None = None
        self._is_last = False
        self._quotes = QuoteScan()
        self._num_scanned = 0
        """How many characters of what is held the scan for quotes has taken in."""

    @property
    def is_quoting(self) -> bool:
        """Whether what comes next is a part of the arguments, whatever it is."""
        return self._read == self._read_arguments and self._quotes.is_quoted

    def flush(self) -> list[Item]:
        """Give out what was held back."""
        self._is_last = True
        scanned, rest = self._held[: self._num_scanned], self._held[self._num_scanned :]
        self._held = scanned + split_partial(rest, MARKS)[0]
        return self.push("")

    def _read_beginning(self, given: list[Item]) -> bool:
        """Leave out the colon, which belongs to the ✿RETURN✿ that the prompt ended with, and line breaks."""
        if self._held in ("", ":") and not self._is_last:
            return False
        text = self._held.removeprefix(":")
        self._held = text.removeprefix(" ") if text != self._held else text
        return self._go(self._read_line_breaks)

    def _read_line_breaks(self, given: list[Item]) -> bool:
        self._held = self._held.lstrip("\n")
        return bool(self._held) and self._go(self._read_content)

    def _read_content(self, given: list[Item]) -> bool:
        before, mark = self._take(_ENDS)
        text = self._space + before
        said = text.rstrip()
        given += [said] if said else []
        self._space = text[len(said) :]
        return self._leave(mark)

    def _read_name(self, given: list[Item]) -> bool:
        """Read a name, which is one line, up to its arguments."""
        place, mark = find_first(self._held, MARKS)
        name = self._held[:place].strip()
        if mark == ARGS and name and "\n" not in name:
            self._held = self._held[place + len(mark) :]
            return self._begin_call(name, given)
        if not mark and not self._is_last:
            rest = name.partition("\n")[2].lstrip()
            if any(each.startswith(rest) for each in MARKS):  # as nothing does, too
                return False
        if mark != ARGS and name in self._names:
            self._held = self._held[place + len(mark) :]
            return self._begin_call(name, given) and self._end_arguments(mark, given)
        given.append(self._space + FUNCTION)
        self._space = ""
        return self._go(self._read_content)

    def _begin_call(self, name: str, given: list[Item]) -> bool:
        self._name = name
        self._has_arguments = self._is_closed = False
        self._closing = None
        self._quotes, self._num_scanned = QuoteScan(), 0
        given.append(CallDelta(self._count, "", name))
        return self._go(self._read_arguments)

    def _read_arguments(self, given: list[Item]) -> bool:
        place, mark = self._find_end()
        is_whole = bool(mark) or self._is_last
        kept = self._give_arguments(self._held[:place], given, is_whole=is_whole)
        if not is_whole:
            self._held, self._num_scanned = kept + self._held[place:], len(kept)
            return False
        self._held, self._num_scanned = self._held[place + len(mark) :], 0
        return self._end_arguments(mark, given)

    def _find_end(self) -> tuple[int, str]:
        """The first mark that is not quoted, and where; else the end of what is no beginning of one, and ""."""
        while True:
            rest = self._held[self._num_scanned :]
            place, mark = find_first(rest, MARKS)
            before = rest[:place] if mark else split_partial(rest, MARKS)[0]
            self._quotes.push(before)
            self._num_scanned += len(before)
            if not mark or not self._quotes.is_quoted:
                return self._num_scanned, mark
            self._quotes.push(mark)
            self._num_scanned += len(mark)

    def _give_arguments(self, text: str, given: list[Item], *, is_whole: bool) -> str:
        """Give out what surely belongs to the arguments, and give back the rest."""
        if not self._has_arguments:
            text = text.lstrip()
            if not is_whole and any(opening.startswith(text) and opening != text for opening, _ in _CLOSINGS):
                return text
            self._closing = next((closing for opening, closing in _CLOSINGS if text.startswith(opening)), None)
        end = len(text.rstrip())
        if self._closing is not None and (place := text.rfind(self._closing)) >= 0:
            self._is_closed, end = True, place + len(self._closing)
        elif self._is_closed:
            end = 0
        elif self._closing is not None and not is_whole:
            end = min(end, len(split_partial(text, (self._closing,))[0]))
        if end:
            self._has_arguments = True
            given.append(CallDelta(self._count, text[:end]))
        return text[end:]

    def _end_arguments(self, mark: str, given: list[Item]) -> bool:
        if not self._has_arguments:
            given.append(CallDelta(self._count, "{}"))
        self._count += 1
        return self._begin_call(self._name, given) if mark == ARGS else self._leave(mark)

    def _leave(self, mark: str) -> bool:
        if not mark:
            return False
        return self._go(self._read_name if mark == FUNCTION else self._drop)

    def _take(self, marks: tuple[str, ...]) -> tuple[str, str]:
        """Take what stands before the first of these marks, and the mark, if there is one."""
        place, mark = find_first(self._held, marks)
        if mark:
            text, self._held = self._held[:place], self._held[place + len(mark) :]
        else:
            text, self._held = split_partial(self._held, marks)
        return text, mark
