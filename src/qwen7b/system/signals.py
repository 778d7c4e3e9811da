"""Signals that end the command: what was begun is cleared away or kept to go on from, and the exit code says why."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last is not known on Windows
_SAME = 1.0
"""Seconds within which a further signal says the same again, and must not cut short what the first has begun."""


class Ended(SystemExit):
    """The system ends the command: nothing takes this for a user's Ctrl-C, which may end a reply only."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


@contextmanager
def ending_by_signals() -> Iterator[None]:
    """Within it signals become exceptions that end the process in order; once in a process, in its main thread.

    Ctrl-C is KeyboardInterrupt, with exit code 130 if nothing takes it, SIGTERM is 143 and SIGHUP 129. What the process
    was started to ignore, as by nohup, it ignores. After it signals end the process at once, with the same exit codes.
    """
    handler = _Handler()
    for number in [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
            # Python would give it back its own meaning as it ends, and with it another exit code.
            atexit.register(signal.signal, number, signal.SIG_IGN)
    sys.unraisablehook = handler.raise_again
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Ended as ended:
        with suppress(OSError, ValueError):  # the terminal may have gone
            print(f"ended by {signal.Signals(ended.number).name}", file=sys.stderr, flush=True)
        raise
    finally:
        handler.is_over = True


@contextmanager
def ended_by(end: Callable[[Ended], None]) -> Iterator[None]:
    """Within it SIGTERM and SIGHUP call `end` and raise nothing: an event loop would report what breaks into a task."""
    handler = signal.getsignal(signal.SIGTERM)
    if not isinstance(handler, _Handler):
        yield
        return
    handler.end = end
    try:
        yield
    finally:
        handler.end = None


class _Handler:
    """Raises what a signal means, once for signals that come in quick succession."""

    def __init__(self) -> None:
        self.end: Callable[[Ended], None] | None = None
        self.is_over = False
        """Whether nothing is left to clear away."""
        self._raised = -_SAME

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._raised < _SAME:
            return
        self._raised = now
        if self.is_over:
            os._exit(128 + number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.end is None:
            raise Ended(number)
        self.end(Ended(number))

    def raise_again(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Python drops what is raised while an object is cleared away: a signal that came just then comes again."""
        error = unraisable.exc_value
        if not isinstance(error, (KeyboardInterrupt, Ended)):
            sys.__unraisablehook__(unraisable)
            return
        self._raised = -_SAME
        number = error.number if isinstance(error, Ended) else signal.SIGINT
        threading.Timer(0.01, os.kill, (os.getpid(), number)).start()
