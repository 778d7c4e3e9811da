"""Follows what blocks from an event loop: a thread of its own makes the items that the loop is given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def follow_in_thread(items: Generator[T, None, object]) -> AsyncGenerator[T, None]:
    """Yield the items of a generator, and raise what it raises; it runs in a thread of its own.

    Where the loop stops following, by a task that is cancelled or a generator that is closed, the other gets a
    KeyboardInterrupt at its next item, as by Ctrl-C, and its thread ends by itself.
    """
    loop, news = asyncio.get_running_loop(), asyncio.Queue[tuple[str, Any]]()
    is_left = threading.Event()

    def tell(kind: str, value: object) -> None:
        with suppress(RuntimeError):  # the loop is closed, so that nobody follows
            loop.call_soon_threadsafe(news.put_nowait, (kind, value))

    def make() -> None:
        was_told = False
        try:
            item = next(items)
            while True:
                tell("item", item)
                if is_left.is_set() and not was_told:
                    was_told, item = True, items.throw(KeyboardInterrupt())
                else:
                    item = next(items)
        except StopIteration:
            tell("end", None)
        except BaseException as error:  # raised again by whoever follows
            tell("error", error)

    threading.Thread(target=make, daemon=True).start()
    try:
        while (told := await news.get())[0] == "item":
            yield told[1]
        if told[0] == "error":
            raise told[1]
    finally:
        is_left.set()
