"""Stop strings in a stream: text is let out only once no stop string can begin in it."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Watches one reply's text; what follows a stop string, and the string itself, never comes out.

    >>> watcher = StopStrings(["\\nUser:"])
    >>> watcher.push("Hello.\\nUs"), watcher.push("e this."), watcher.push("\\nUser: and"), watcher.found
    ('Hello.', '\\nUse this.', '', '\\nUser:')
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self.stop = tuple(stop)
        self.found: str | None = None
        self.held = ""

    def push(self, text: str) -> str:
        """The text that may be shown after `text` came in."""
        if self.found is not None:
            return ""
        text = self.held + text
        hits = [(at, string) for string in self.stop if (at := text.find(string)) >= 0]
        if hits:  # the one that is complete first, as if the text came character by character
            at, self.found = min(hits, key=lambda hit: (hit[0] + len(hit[1]), hit[0]))
            self.held = ""
            return text[:at]
        keep = max((_overlap(text, string) for string in self.stop), default=0)
        self.held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """What was held back, once no more text will come."""
        text, self.held = self.held, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that `stop` begins with."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
