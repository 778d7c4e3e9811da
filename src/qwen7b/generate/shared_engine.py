"""One engine for many callers: threads, asyncio tasks, and the plain calls of `Qwen`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from qwen7b.generate.engine import Engine
from qwen7b.generate.request import Request


class SharedEngine:
    """An engine that threads use at once. A thread that waits runs the next step for all, unless another does."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._changed = threading.Condition()
        self._is_stepping = False
        self._in_background: set[Request] = set()
        self._thread: threading.Thread | None = None

    def add(self, request: Request) -> None:
        """Add a request, which takes part from the next step on. Raises ResourceError where it could never fit."""
        with self._changed:
            self.engine.add(request)

    def wait(self, has_news: Callable[[], bool]) -> None:
        """Step the engine, or let another thread do it, until `has_news` is true; requests' callbacks make it so."""
        while not has_news():
            is_mine = False
            try:
                with self._changed:
                    self._changed.wait_for(lambda: has_news() or not self._is_stepping)
                    if has_news():
                        return
                    is_mine = self._is_stepping = True
                if not self.engine.step():
                    assert has_news(), "a thread waits, but no request is left"
            finally:
                if is_mine:
                    with self._changed:
                        self._is_stepping = False
                        self._changed.notify_all()

    def cancel(self, requests: Iterable[Request]) -> None:
        """Cancel requests: after it none of their functions is called, and their memory is free."""
        for request in requests:
            self.engine.cancel(request)
        with self._changed:
            self._changed.wait_for(lambda: not self._is_stepping)
            self.engine.sweep()

    def cancel_soon(self, requests: Iterable[Request]) -> None:
        """Cancel requests without waiting for the step that is running."""
        for request in requests:
            self.engine.cancel(request)

    def add_in_background(self, request: Request) -> None:
        """Add a request whose caller must not block, such as an event loop's task: a thread runs the engine for it."""
        with self._changed:
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
            self.wait(lambda: any(request.is_over for request in list(self._in_background)))
