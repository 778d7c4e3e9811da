"""Token ids out of `generate` while it runs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria
from transformers.generation.streamers import BaseStreamer


class _Made(BaseStreamer):
    """Puts the ids of one sequence into a queue, without its prompt, which comes first."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[int | BaseException | None] = SimpleQueue()
        self.prompt_seen = False

    def put(self, value: Tensor) -> None:
        if self.prompt_seen:
            for token_id in value.flatten().tolist():
                self.queue.put(token_id)
        self.prompt_seen = True

    def end(self) -> None:
        pass  # the thread says so itself, also where `generate` fails


class _Abandoned(StoppingCriteria):
    def __init__(self) -> None:
        self.event = Event()

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        return torch.full((len(input_ids),), self.event.is_set(), device=input_ids.device)


def stream_tokens(generate: Callable[..., object]) -> Generator[int, None, None]:
    """The ids that `generate(streamer=…, stopping_criteria=…)` makes for one prompt, as it makes them.

    It runs in a thread of its own; what it raises is raised here, and closing the generator ends it.
    """
    made, abandoned = _Made(), _Abandoned()

    def run() -> None:
        try:
            generate(streamer=made, stopping_criteria=[abandoned])
            made.queue.put(None)
        except BaseException as error:
            made.queue.put(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        while (item := made.queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        abandoned.event.set()
        thread.join()
