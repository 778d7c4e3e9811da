"""Turns off the keyboard's echo while a reply is shown; what is typed meanwhile waits for the next line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_keyboard() -> Iterator[None]:
    """Keep the terminal from showing what is typed while the body runs, as it would appear in the middle of a reply.

    The typed text is not lost: the next read gets it. Ctrl-C still works.
    """
    try:
        import termios

        descriptor = sys.stdin.fileno()
        settings = termios.tcgetattr(descriptor)
    except (ImportError, OSError, ValueError, termios.error):  # not on Windows; no terminal
        yield
        return
    quiet = [*settings]
    quiet[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(descriptor, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, settings)
