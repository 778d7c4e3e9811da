"""What blocks is followed from an event loop: its items come as they are made, its errors too, and it ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Generator

import pytest

from qwen7b.system.in_thread import follow_in_thread


def test_items_come_as_they_are_made_in_another_thread() -> None:
    go_on = threading.Semaphore(0)

    def items() -> Generator[int, None, None]:
        for number in range(3):
            assert go_on.acquire(timeout=10)
            yield number if threading.current_thread() is not threading.main_thread() else -1

    async def follow() -> list[int]:
        found = []
        go_on.release()
        async for item in follow_in_thread(items()):
            found.append(item)
            go_on.release()
        return found

    assert asyncio.run(follow()) == [0, 1, 2]


def test_what_is_raised_is_raised_again() -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        raise LookupError("no more")

    async def follow() -> list[int]:
        return [item async for item in follow_in_thread(items())]

    with pytest.raises(LookupError, match="no more"):
        asyncio.run(follow())


def test_who_is_left_is_told_once_and_may_end_in_its_own_way() -> None:
    told, is_over, go_on = list[int](), threading.Event(), threading.Event()

    def items() -> Generator[int, None, None]:
        for number in range(5):
            try:
                yield number
            except KeyboardInterrupt:
                told.append(number)
            assert go_on.wait(10)
        is_over.set()

    async def follow() -> None:
        async with contextlib.aclosing(follow_in_thread(items())) as followed:
            assert await anext(followed) == 0

    asyncio.run(follow())
    go_on.set()
    assert is_over.wait(10) and len(told) == 1
