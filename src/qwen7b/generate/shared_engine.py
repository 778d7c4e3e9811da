"""One engine for many callers: threads, asyncio tasks, and the plain calls of `Qwen`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from qwen7b.errors import SettingError
from qwen7b.generate.engine import Engine
from qwen7b.generate.request import Request
from qwen7b.system.signals import interrupts_deferred

_PATIENCE = 0.05
"""Seconds for which a thread waits before it looks whether Ctrl-C was pressed."""


class SharedEngine:
    """An engine that threads use at once. A thread that waits runs the next step for all, unless another does."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._changed = threading.Condition()
        self._process = os.getpid()
        self._stepping: int | None = None
        """The thread that runs a step."""
        self._in_background: set[Request] = set()
        self._thread: threading.Thread | None = None

    def add(self, request: Request) -> None:
        """Add a request, which takes part from the next step on. Raises ResourceError where it could never fit."""
        with self._locked():
            self.engine.add(request)

    def wait(self, has_news: Callable[[], bool]) -> None:
        """Step the engine, or let another thread do it, until `has_news` is true; requests' callbacks make it so."""
        if self._is_in_step():
            raise SettingError(
                "a function that is called while a reply is made cannot wait for another one of the model"
            )
        while not has_news():
            try:
                try:
                    if self._begin_step(has_news) and not self.engine.step():
                        assert has_news(), "a thread waits, but no request is left"
                finally:
                    self._end_step()
            finally:
                self._end_step()  # again, as Ctrl-C may have come before the first was under way

    def cancel(self, requests: Iterable[Request]) -> None:
        """Cancel requests: after it none of their functions is called, and their memory is free."""
        self.cancel_soon(requests)
        if self._is_in_step():  # a generator may be deleted at any point of it, and its end lets them go
            return
        if os.getpid() != self._process:  # nobody goes on with them here
            return
        with self._locked() as wait:
            while self._stepping is not None:
                wait()
            self._stepping = threading.get_ident()
            try:
                self.engine.sweep()
            finally:
                self._stepping = None

    def cancel_soon(self, requests: Iterable[Request]) -> None:
        """Cancel requests without waiting for the step that is running."""
        for request in requests:
            self.engine.cancel(request)

    def add_in_background(self, request: Request) -> None:
        """Add a request whose caller must not block, such as an event loop's task: a thread runs the engine for it."""
        with self._locked():
            self.engine.add(request)
            self._in_background.add(request)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="qwen7b engine", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._in_background = {request for request in self._in_background if not request.is_over}
                if not self._in_background:
                    self._thread = None
                    return
            try:
                self.wait(lambda: any(request.is_over for request in list(self._in_background)))
            except BaseException as error:  # it has no caller here but those who wait for their requests
                told = error if isinstance(error, Exception) else RuntimeError(f"a step was ended by {error!r}")
                with self._changed:
                    self._changed.wait_for(lambda: self._stepping is None)
                    for request in self._in_background:
                        if not request.is_over:
                            request.fail(told)

    def _begin_step(self, has_news: Callable[[], bool]) -> bool:
        """Wait for this thread's turn to step; false where there is news before it comes."""
        with self._locked() as wait:
            while self._stepping is not None and not has_news():
                wait()
            if has_news():
                return False
            self._stepping = threading.get_ident()
            return True

    def _end_step(self) -> None:
        if self._is_in_step():
            with self._locked():
                self._stepping = None
                self._changed.notify_all()

    def _is_in_step(self) -> bool:
        return self._stepping == threading.get_ident()

    @contextmanager
    def _locked(self) -> Iterator[Callable[[], None]]:
        """Hold the lock, and let Ctrl-C wait meanwhile, as it could come after it is taken and before that is known.

        Yields a function that waits for a change; there Ctrl-C is raised. Raises SettingError in a forked process, to
        which the thread that holds the lock, or runs a step, may not have come along.
        """
        if os.getpid() != self._process:
            raise SettingError("a reply that was begun before this process was forked cannot go on in it: ask again")
        with interrupts_deferred() as interruptible, self._changed:

            def wait() -> None:
                self._changed.wait(_PATIENCE)
                with interruptible():
                    pass

            yield wait
