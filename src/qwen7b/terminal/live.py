"""The lines at the end of the screen that are redrawn while a reply is generated."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack

from rich.cells import chop_cells
from rich.console import Console
from rich.control import Control
from rich.segment import ControlType, Segment, SegmentLines, Segments

from qwen7b.terminal.keyboard import quiet_keyboard

Line = list[Segment]

# rich has no name for these two; the control code only marks the text as a control sequence.
_WRAP = Segment("\x1b[?7h", None, [(ControlType.CARRIAGE_RETURN,)])
_NO_WRAP = Segment("\x1b[?7l", None, [(ControlType.CARRIAGE_RETURN,)])


class LiveLines:
    """Lines that each drawing replaces; what is printed above them stays. Without a terminal nothing is drawn.

    When their window gets narrower, most terminals wrap the screen's content again, so that lines drawn before take
    more rows. They do so before the process learns of it, so some drawings still use the old width. These are drawn
    without wrapping and take one row per line, as many as they erase; so the number of rows to erase in the end does
    not depend on how many such drawings there were.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._can_redraw = console.is_terminal and not console.is_dumb_terminal
        self._drawn: list[str] = []
        self._keyboard = ExitStack()

    def open(self) -> None:
        if self._can_redraw:
            self._keyboard.enter_context(quiet_keyboard())  # an Enter shown would move the lines
            self._console.show_cursor(False)

    def draw(self, lines: Sequence[Line], *, above: Sequence[Line] = ()) -> None:
        with self._console:  # gathers what follows into one write, so that nothing flickers
            self._erase()
            self._print(above)
            if self._can_redraw and lines:
                self._console.print(Segments([_NO_WRAP]), end="")
                self._print(lines)
                self._console.print(Segments([_WRAP]), end="")
                self._drawn = ["".join(segment.text for segment in line) for line in lines]

    def close(self, *, above: Sequence[Line] = ()) -> None:
        """Remove the live lines, so that only what was printed above them stays."""
        if self._can_redraw:
            self._console.show_cursor(True)
        self.draw([], above=above)
        self._keyboard.close()

    def _print(self, lines: Sequence[Line]) -> None:
        if lines:
            self._console.print(SegmentLines(lines, new_lines=True))

    def _erase(self) -> None:
        if not self._drawn:
            return
        rows = len(self._drawn)
        if _rewraps():  # a wide character that does not fit at the end of a row goes to the next
            rows = sum(max(len(chop_cells(line, self._console.width)), 1) for line in self._drawn)
        erase_row = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2))
        self._console.control(Control(ControlType.CARRIAGE_RETURN, *erase_row * rows))
        self._drawn = []


def _rewraps() -> bool:
    """Tell whether the terminal wraps its lines again when it gets narrower; other terminals cut them off."""
    is_screen = os.environ.get("TERM", "").startswith("screen") and "TMUX" not in os.environ
    return not (is_screen or "XTERM_VERSION" in os.environ or os.environ.get("TERM") == "linux")
