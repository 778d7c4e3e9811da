"""What parsers of replies by marks have in common: they read part after part, and hold back what is not settled."""

from __future__ import annotations

from collections.abc import Callable

from qwen7b.dialects.dialect import CallDelta

Item = str | CallDelta


class StagedParser:
    """Reads one part of a reply after the other; each part has a method, the first is that of `begin`.

    A part takes what it settles from `_held`, adds it to the list that it is given, and returns true where another part
    begins.
    """

    def __init__(self, begin: Callable[[list[Item]], bool]) -> None:
        self._held = ""
        self._read = begin

    def push(self, text: str) -> list[Item]:
        """Take in a stretch, and give out what is settled by it."""
        self._held += text
        given: list[Item] = []
        while self._read(given):  # as long as another part of the reply begins
            pass
        return given

    def _drop(self, given: list[Item]) -> bool:
        """Read a part that is nobody's."""
        self._held = ""
        return False

    def _go(self, read: Callable[[list[Item]], bool]) -> bool:
        self._read = read
        return True
