"""Turns signals into exceptions that end the command, so that it can clean up first; the exit code names the signal."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last is not known on Windows
_REPEAT_SECONDS = 1.0
"""Seconds within which a further signal is a repetition, and must not interrupt the clean-up that the first began."""

Interruptible = Callable[[], AbstractContextManager[None]]
"""Makes a context for a part of `interrupts_deferred` that may be interrupted after all."""


class EndedBySignal(SystemExit):
    """The command is ended by a signal other than Ctrl-C, which may end only a reply."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, as a type of its own.

    Once a KeyboardInterrupt of no other type has left a text that is executed, as dataclasses do with what they write,
    Python in the end kills itself by SIGINT, whatever the exit code.
    """


@contextmanager
def ending_by_signals() -> Iterator[None]:
    """Inside this context signals raise exceptions; it is entered once in a process, in its main thread.

    Ctrl-C raises a KeyboardInterrupt, with exit code 130 if nothing catches it; SIGTERM gives 143 and SIGHUP 129. A
    signal that the process was started to ignore, as by nohup, stays ignored. After the context signals end the process
    at once, with the same exit codes.
    """
    handler = _Handler()
    for number in [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
            # Python would restore the default handler as it exits, and with it another exit code.
            atexit.register(signal.signal, number, signal.SIG_IGN)
    sys.unraisablehook = handler.raise_again
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except EndedBySignal as ended:
        with suppress(OSError, ValueError):  # the terminal may have gone
            print(f"ended by {signal.Signals(ended.number).name}", file=sys.stderr, flush=True)
        raise
    finally:
        handler.is_over = True


@contextmanager
def ended_by(end: Callable[[EndedBySignal], None]) -> Iterator[None]:
    """Here SIGTERM and SIGHUP call `end` instead of raising, as an event loop would log what is raised."""
    handler = signal.getsignal(signal.SIGTERM)
    if not isinstance(handler, _Handler):
        yield
        return
    handler.end = end
    try:
        yield
    finally:
        handler.end = None


@contextmanager
def interrupts_deferred() -> Iterator[Interruptible]:
    """Inside this context Ctrl-C waits for its end, or for an interruptible part: the rest must not be half done."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield nullcontext
        return
    came: list[tuple[int, FrameType | None]] = []
    is_deferred = True

    def receive(number: int, frame: FrameType | None) -> None:
        came.append((number, frame))
        if not is_deferred:
            handle()

    def handle() -> None:
        if came:
            number, frame = came[0]
            came.clear()
            handler(number, frame)

    @contextmanager
    def interruptible() -> Iterator[None]:
        nonlocal is_deferred
        is_deferred = False
        try:
            handle()
            yield
        finally:
            is_deferred = True

    signal.signal(signal.SIGINT, receive)
    try:
        yield interruptible
    finally:
        signal.signal(signal.SIGINT, handler)
        handle()


class _Handler:
    """Raises the exception for a signal, once for signals in quick succession."""

    def __init__(self) -> None:
        self.end: Callable[[EndedBySignal], None] | None = None
        self.is_over = False
        """Whether the clean-up is done."""
        self._last_raised = -_REPEAT_SECONDS

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last_raised < _REPEAT_SECONDS:
            return
        self._last_raised = now
        if self.is_over:
            os._exit(128 + number)
        if number == signal.SIGINT:
            raise Interrupted
        if self.end is None:
            raise EndedBySignal(number)
        self.end(EndedBySignal(number))

    def raise_again(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Python drops an exception raised while it deletes an object: send the signal that raised it again."""
        error = unraisable.exc_value
        if not isinstance(error, (KeyboardInterrupt, EndedBySignal)):
            sys.__unraisablehook__(unraisable)
            return
        self._last_raised = -_REPEAT_SECONDS
        number = error.number if isinstance(error, EndedBySignal) else signal.SIGINT
        threading.Timer(0.01, os.kill, (os.getpid(), number)).start()
