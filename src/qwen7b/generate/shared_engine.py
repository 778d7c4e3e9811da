"""One engine for many callers: threads, asyncio tasks, and the plain calls of `Qwen`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from qwen7b.errors import SettingError
from qwen7b.generate.engine import Engine
from qwen7b.generate.request import Request


class SharedEngine:
    """An engine that threads use at once. A thread that waits runs the next step for all, unless another does."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._changed = threading.Condition()
        self._stepping: int | None = None
        """The thread that runs a step."""
        self._in_background: set[Request] = set()
        self._thread: threading.Thread | None = None

    def add(self, request: Request) -> None:
        """Add a request, which takes part from the next step on. Raises ResourceError where it could never fit."""
        with self._changed:
            self.engine.add(request)

    def wait(self, has_news: Callable[[], bool]) -> None:
        """Step the engine, or let another thread do it, until `has_news` is true; requests' callbacks make it so."""
        if self._is_in_step():
            raise SettingError(
                "a function that is called while a reply is made cannot wait for another one of the model"
            )
        while not has_news():
            is_mine = False
            try:
                with self._changed:
                    self._changed.wait_for(lambda: has_news() or self._stepping is None)
                    if has_news():
                        return
                    is_mine, self._stepping = True, threading.get_ident()
                if not self.engine.step():
                    assert has_news(), "a thread waits, but no request is left"
            finally:
                if is_mine:
                    with self._changed:
                        self._stepping = None
                        self._changed.notify_all()

    def cancel(self, requests: Iterable[Request]) -> None:
        """Cancel requests: after it none of their functions is called, and their memory is free."""
        self.cancel_soon(requests)
        if self._is_in_step():  # a generator may be deleted at any point of it, and its end lets them go
            return
        with self._changed:
            self._changed.wait_for(lambda: self._stepping is None)
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
            try:
                self.wait(lambda: any(request.is_over for request in list(self._in_background)))
            except BaseException as error:  # it has no caller here but those who wait for their requests
                told = error if isinstance(error, Exception) else RuntimeError(f"a step was ended by {error!r}")
                with self._changed:
                    self._changed.wait_for(lambda: self._stepping is None)
                    for request in self._in_background:
                        if not request.is_over:
                            request.fail(told)

    def _is_in_step(self) -> bool:
        return self._stepping == threading.get_ident()
