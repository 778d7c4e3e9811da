"""Quiets the keyboard while a reply comes: what is typed then waits for the next line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_keyboard() -> Iterator[None]:
    """Keep the terminal from showing what is typed while the body runs: it would stand in the middle of a reply.

    It is not lost: whoever reads next gets it. Ctrl-C still acts.
    """
    try:
        import termios

        number = sys.stdin.fileno()
        settings = termios.tcgetattr(number)
    except (ImportError, OSError, ValueError, termios.error):  # not on Windows; no terminal
        yield
        return
    quiet = [*settings]
    quiet[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(number, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(number, termios.TCSANOW, settings)
