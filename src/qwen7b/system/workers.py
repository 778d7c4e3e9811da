"""Threads that each compute alone: tasks in, their results in order out.

PyTorch's own threads meet after every operation. Where work comes in small blocks, and on a machine that is busy with
something else, the meetings take many times as long as the work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")


class Workers:
    """As many threads as PyTorch has for the caller; in each of them PyTorch has one."""

    def __init__(self, pool: ThreadPoolExecutor, count: int) -> None:
        self._pool, self.count = pool, count

    def results(self, work: Callable[..., Result], tasks: Iterable[tuple[Any, ...]]) -> Generator[Result, None, None]:
        """What `work(*task)` gives for each task, in order; never more than a few are begun and not yet taken.

        It computes without gradients, and in inference mode where the caller does. The first error ends it.
        """
        is_inference = torch.is_inference_mode_enabled()

        def alone(*task: Any) -> Result:
            with torch.inference_mode(is_inference), torch.no_grad():
                return work(*task)

        waiting: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                waiting.append(self._pool.submit(alone, *task))
                if len(waiting) > 2 * self.count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            wait(waiting)  # so that nothing is written any more

    def run(self, work: Callable[..., object], tasks: Iterable[tuple[Any, ...]]) -> None:
        """Do `work(*task)` for each task."""
        for _ in self.results(work, tasks):
            pass


@contextmanager
def workers(*, caller_waits: bool = False) -> Iterator[Workers]:
    """Threads for as long as the context lasts, after which the caller has PyTorch's threads as before.

    With `caller_waits`, for one that computes little itself, it has a single one meanwhile: PyTorch's threads spin for
    a while after every operation, and would take the processor from the workers.
    """
    count = torch.get_num_threads()
    try:
        if caller_waits:
            torch.set_num_threads(1)
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield Workers(pool, count)
    finally:
        torch.set_num_threads(count)  # for threads that begin later, which get the number that was set last
