"""Blocks of a tensor's rows dealt out to threads, each of which computes alone.

PyTorch's own threads meet after every operation. Blocks are small, and on a machine that is busy with something else
the meetings take many times as long as the work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import torch

from qwen7b.files.stored import StoredTensor, row_ranges

Result = TypeVar("Result")

_num_workers: ContextVar[int] = ContextVar("_num_workers", default=1)


@contextmanager
def dealt_out() -> Iterator[None]:
    """Within it `map_blocks` has as many threads as PyTorch had before, and PyTorch has one."""
    threads = torch.get_num_threads()
    outer = _num_workers.set(threads)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _num_workers.reset(outer)


def map_blocks(work: Callable[[int, int], Result], stored: StoredTensor) -> Generator[Result, None, None]:
    """What `work(start, stop)` gives for each block of rows, in order; never more than a few at a time."""
    waiting: deque[Future[Result]] = deque()
    workers = _num_workers.get()
    with ThreadPoolExecutor(workers) as executor:
        for start, stop in row_ranges(stored):
            waiting.append(executor.submit(torch.inference_mode()(work), start, stop))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
