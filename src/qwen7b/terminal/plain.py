"""Shows a reply while it is generated: as plain text here, or on a terminal as Markdown by `display.py`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn, Protocol

if TYPE_CHECKING:
    from tqdm import tqdm


class Display(Protocol):
    """Shows one reply while it is generated."""

    def open(self) -> None: ...
    def show_reading(self, tokens_read: int, tokens: int) -> None: ...
    def push(self, text: str) -> None: ...
    def close(self) -> None: ...


def reply_display() -> Display:
    """The display for standard output: Markdown on a terminal, else plain text, which does not need rich."""
    if not sys.stdout.isatty():
        return PlainDisplay()
    from qwen7b.terminal.display import MarkdownDisplay, chat_console

    return MarkdownDisplay(chat_console())


class PlainDisplay:
    """Shows the text unchanged, and ends it with a newline."""

    def __init__(self) -> None:
        self._last = ""
        self._bar: tqdm[NoReturn] | None = None

    def open(self) -> None:
        pass

    def show_reading(self, tokens_read: int, tokens: int) -> None:
        """Show a progress bar on standard error, if that is a terminal."""
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=tokens, desc="Reading", unit=" tokens", mininterval=0, leave=False, disable=None)
        self._bar.update(tokens_read - self._bar.n)

    def push(self, text: str) -> None:
        self._end_reading()
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()
            self._last = text[-1]

    def close(self) -> None:
        self._end_reading()
        if self._last not in ("", "\n"):
            print(flush=True)

    def _end_reading(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
