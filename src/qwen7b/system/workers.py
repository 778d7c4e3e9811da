"""Threads that each compute a task on their own: tasks in, their results in order out.

PyTorch's own threads synchronize after every operation. Where work comes in small blocks, or the machine is busy with
something else, that takes many times as long as the work.
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
    """As many threads as PyTorch uses for the caller; in each of them PyTorch uses one."""

    def __init__(self, pool: ThreadPoolExecutor, count: int) -> None:
        self._pool, self.count = pool, count

    def results(self, work: Callable[..., Result], tasks: Iterable[tuple[Any, ...]]) -> Generator[Result, None, None]:
        """The results of `work(*task)` for each task, in order; only a few tasks are started ahead of the caller.

        Tasks compute without gradients, and in inference mode where the caller does. The first error ends them.
        """
        is_inference = torch.is_inference_mode_enabled()

        def run_task(*task: Any) -> Result:
            with torch.inference_mode(is_inference), torch.no_grad():
                return work(*task)

        pending: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                pending.append(self._pool.submit(run_task, *task))
                if len(pending) > 2 * self.count:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
            wait(pending)  # so that no task still writes when this returns

    def run(self, work: Callable[..., object], tasks: Iterable[tuple[Any, ...]]) -> None:
        """Do `work(*task)` for each task."""
        for _ in self.results(work, tasks):
            pass


@contextmanager
def workers(*, caller_waits: bool = False) -> Iterator[Workers]:
    """Threads for as long as the context lasts; afterwards PyTorch uses as many for the caller as before.

    With `caller_waits`, for a caller that computes little itself, PyTorch uses a single one for it meanwhile: its other
    threads spin for a while after every operation, and would take the processor from the workers.
    """
    count = torch.get_num_threads()
    try:
        if caller_waits:
            torch.set_num_threads(1)
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield Workers(pool, count)
    finally:
        torch.set_num_threads(count)  # threads that start later get the number that was set last
