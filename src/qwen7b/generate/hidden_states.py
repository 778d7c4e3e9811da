"""Requests that are only read: what comes of their hidden states, with a bounded number of them under way."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator

import torch
from torch import Tensor

from qwen7b.generate.request import Request
from qwen7b.generate.shared_engine import SharedEngine

_MAX_UNDER_WAY = 128
"""Requests that the engine is given at a time: enough to fill its steps, and few enough for any number of them."""
BACKGROUND = -1
"""The priority of what nobody watches: replies come first."""


def read_all(
    shared: SharedEngine, requests: Iterable[Request], *, has_news: Callable[[], bool] = lambda: False
) -> Generator[list[Request], None, None]:
    """Run the requests, which may be made as they are asked for, and yield those that are over, time and again.

    There are none among them where only `has_news` was true. Raises the error that failed one. Whatever ends this
    cancels the others; a caller that may go before the end closes it.
    """
    left, under_way = iter(requests), list[Request]()
    try:
        while True:
            while len(under_way) < _MAX_UNDER_WAY and (request := next(left, None)):
                shared.add(request)
                under_way.append(request)
            if not under_way:
                return
            shared.wait(lambda: has_news() or any(request.is_over for request in under_way))
            over = [request for request in under_way if request.is_over]
            for request in over:
                under_way.remove(request)
                if request.error is not None:
                    raise request.error
            yield over
    finally:
        shared.cancel(under_way)


def mean_hidden(shared: SharedEngine, sequences: Iterable[list[int]]) -> Iterator[tuple[int, Tensor]]:
    """The mean (C,) of each sequence's hidden states in float64, with its index, in whatever order they are done."""
    sums: dict[Request, tuple[int, Tensor]] = {}
    hidden_size = shared.engine.model.config.hidden_size

    def requests() -> Iterator[Request]:
        for index, ids in enumerate(sequences):
            sum_C = torch.zeros(hidden_size, dtype=torch.float64)

            def add(start: int, hidden_TC: Tensor, sum_C: Tensor = sum_C) -> None:
                for hidden_C in hidden_TC.cpu():  # one by one: cut anywhere, they add up to the same
                    sum_C += hidden_C

            request = Request(ids=ids, max_length=len(ids), priority=BACKGROUND, on_hidden=add)
            sums[request] = index, sum_C
            yield request

    for over in read_all(shared, requests()):
        for request in over:
            index, sum_C = sums.pop(request)
            yield index, sum_C / len(request.ids)
