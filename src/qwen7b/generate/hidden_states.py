"""Requests that are only read, for their hidden states; a bounded number of them is with the engine at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator

import torch
from torch import Tensor

from qwen7b.generate.request import Request
from qwen7b.generate.shared_engine import SharedEngine

_MAX_UNDER_WAY = 128
"""Requests that the engine is given at a time: enough to fill its steps, and few enough for any number of them."""
BACKGROUND = -1
"""The priority of scores and embeddings: replies come first."""


def read_all(
    shared: SharedEngine, requests: Iterable[Request], *, has_news: Callable[[], bool] = lambda: False
) -> Generator[list[Request], None, None]:
    """Run the requests, which may be made lazily, and yield lists of those that are over as they end.

    A list is empty where only `has_news` was true. Raises the error of a request that failed. The others are cancelled
    however this ends; a caller that may leave before the end has to close the generator.
    """
    left, under_way = iter(requests), list[Request]()
    try:
        while True:
            while len(under_way) < _MAX_UNDER_WAY and (request := next(left, None)):
                under_way.append(request)  # first, or Ctrl-C could come between, and nobody would cancel it
                shared.add(request)
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
        try:
            shared.cancel(under_way)
        finally:  # Ctrl-C may have come before the first was under way
            shared.cancel_soon(under_way)


def mean_hidden(
    shared: SharedEngine, sequences: Iterable[list[int]], *, adapter: str | None = None
) -> Iterator[tuple[int, Tensor]]:
    """Yield each sequence's index and its mean hidden state (C,) in float64, in the order in which they are done."""
    sums: dict[Request, tuple[int, Tensor]] = {}
    hidden_size = shared.engine.model.config.hidden_size

    def requests() -> Iterator[Request]:
        for index, ids in enumerate(sequences):
            sum_C = torch.zeros(hidden_size, dtype=torch.float64)

            def add(start: int, hidden_TC: Tensor, sum_C: Tensor = sum_C) -> None:
                for (
                    hidden_C
                ) in hidden_TC.cpu():  # one by one, so that the sum does not depend on how the text was cut into steps
                    sum_C += hidden_C

            request = Request(ids=ids, max_length=len(ids), priority=BACKGROUND, on_hidden=add, adapter=adapter)
            sums[request] = index, sum_C
            yield request

    for over in read_all(shared, requests()):
        for request in over:
            index, sum_C = sums.pop(request)
            yield index, sum_C / len(request.ids)
