"""Stop strings in a stream: text is given out once no stop string can begin in it."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Watches one reply's text; what follows a stop string, and the string itself, never comes out.

    >>> watcher = StopStrings(["\\nUser:"])
    >>> watcher.push("Hello.\\nUs"), watcher.push("e this."), watcher.push("\\nUser: and"), watcher.found
    ('Hello.', '\\nUse this.', '', '\\nUser:')
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self.found: str | None = None
        self.rest = ""
        """What came in with the stop string, and stands behind it."""
        self.held = ""
        self._matches = [_Match(string) for string in stop]

    def push(self, text: str) -> str:
        """The text that may be shown after `text` came in."""
        if self.found is not None:
            return ""
        held, self.held = self.held, ""
        for end, character in enumerate(text, start=len(held) + 1):
            # All of them take the character in; of those that it completes the longest is the stop string.
            if complete := [match.string for match in self._matches if match.push(character)]:
                self.found = max(complete, key=len)
                self.rest = (held + text)[end:]
                return (held + text)[: end - len(self.found)]
        text = held + text
        keep = max((match.length for match in self._matches), default=0)
        self.held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """Give out what was held back, once no more text will come."""
        text, self.held = self.held, ""
        return text


class _Match:
    """The longest beginning of a string that the text ends in, found in a few steps a character whatever its length.

    https://en.wikipedia.org/wiki/Knuth–Morris–Pratt_algorithm
    """

    def __init__(self, string: str) -> None:
        self.string = string
        self.length = 0
        # For each beginning, the longest shorter one that it ends in.
        self._shorter = [0]
        for character in string[1:]:
            self._shorter.append(self._longer(self._shorter[-1], character))

    def push(self, character: str) -> bool:
        """Take in a character and tell whether it completes the string, after which no more may come."""
        self.length = self._longer(self.length, character)
        return self.length == len(self.string)

    def _longer(self, length: int, character: str) -> int:
        while length and self.string[length] != character:
            length = self._shorter[length - 1]
        return length + (self.string[length] == character)
