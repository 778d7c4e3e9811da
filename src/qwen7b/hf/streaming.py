"""Streams the token ids that `generate` produces while it runs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria
from transformers.generation.streamers import BaseStreamer


class _IdQueue(BaseStreamer):
    """Puts the generated ids of one sequence into a queue; the first ids, which are its prompt, are left out."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[int | BaseException | None] = SimpleQueue()
        self.prompt_seen = False

    def put(self, value: Tensor) -> None:
        if self.prompt_seen:
            for token_id in value.flatten().tolist():
                self.queue.put(token_id)
        self.prompt_seen = True

    def end(self) -> None:
        pass  # the thread itself marks the end, also if `generate` fails


class _StopWhenAbandoned(StoppingCriteria):
    """Stops the generation once nobody reads its ids any more."""

    def __init__(self) -> None:
        self.event = Event()

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        return torch.full((len(input_ids),), self.event.is_set(), device=input_ids.device)


def stream_tokens(generate: Callable[..., object]) -> Generator[int, None, None]:
    """Yield the ids that `generate(streamer=…, stopping_criteria=…)` produces for one prompt, one by one.

    It runs in its own thread; what it raises is raised here, and closing the generator stops it.
    """
    ids, abandoned = _IdQueue(), _StopWhenAbandoned()

    def run() -> None:
        try:
            generate(streamer=ids, stopping_criteria=[abandoned])
            ids.queue.put(None)
        except BaseException as error:
            ids.queue.put(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        while (item := ids.queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        abandoned.event.set()
        thread.join()
