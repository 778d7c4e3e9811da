"""Which tokens a step reads: the newest of every decoding request, then as many of prompts as the time allows."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qwen7b.generate.admission import Admission, urgency
from qwen7b.generate.pace import Pace
from qwen7b.generate.request import Request
from qwen7b.generate.request_state import State
from qwen7b.model.sequence_cache import MAX_PASS_TOKENS

_READING_SHARE = 0.5
"""A prompt lengthens a step of decoding requests by this many times its own duration."""

_MAX_READING_SHARE = 16
"""Many prompts lengthen a step of decoding requests by at most this many times its own duration."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A request's part in a step: the next `count` of its ids that are not in its cache."""

    request: Request
    count: int


class Scheduler:
    """Divides a step among the requests that run."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.pace = Pace()
        self._restored: dict[Request, Iterator[None]] = {}
        """Maps each request whose prefix may be saved on disk to the iterator that restores it."""

    def plan(self) -> list[Chunk]:
        """Admit the requests that there is room for, and divide the next step among all that run."""
        slots, running = self.admission.slots, self.admission.running
        self._restored |= {request: slots.restore(request) for request in self.admission.admit()}
        for request in running:  # a step that was interrupted, or a draft, may have left more
            assert request.cache is not None
            if request.num_read > request.needed_from:
                request.cache.truncate(request.needed_from)
        for request in sorted(running, key=urgency):
            if request.state is State.DECODING:
                self.admission.make_ready(request)
        self.admission.grow_ahead()
        decoding = [Chunk(request, _stretch(request)) for request in running if request.state is State.DECODING]
        unread = sorted((request for request in running if request.state is State.READING), key=urgency)
        left = self._rows_to_read([chunk.request for chunk in decoding], unread) if unread else 0
        reading = []
        for request in unread:
            if left and self._is_restored(request, num_decoding=len(decoding)):
                reading.append(Chunk(request, min(_stretch(request), left)))
                left -= reading[-1].count
        return decoding + reading

    def _rows_to_read(self, decoding: Sequence[Request], unread: Sequence[Request]) -> int:
        """The rows of prompts that a step takes beside those that decode.

        One alone takes less than half of its time, so that a long prompt stalls nobody. The more requests wait for
        each one that decodes, the more they take: a pass of few rows is inefficient, and those that wait have no token
        yet.
        """
        if not decoding:
            return MAX_PASS_TOKENS
        priority = min(request.priority for request in decoding)  # prompts of a lower priority do not count
        num_reading = sum(request.priority >= priority for request in [*self.admission.waiting, *unread])
        share = min(max(8 * (num_reading - 1) / len(decoding), _READING_SHARE), _MAX_READING_SHARE)
        return min(self.pace.rows_within(share, num_decoding=len(decoding)), MAX_PASS_TOKENS)

    def forget(self, request: Request) -> None:
        """Drop what is held for a request."""
        self._restored.pop(request, None)

    def _is_restored(self, request: Request, *, num_decoding: int) -> bool:
        """Restore a prompt's saved prefix; false where the step's time is up first, so that others do not wait."""
        seconds = self.pace.seconds_of_rows([num_decoding])[0] if num_decoding else math.inf
        started = time.perf_counter()
        for _ in self._restored.get(request, ()):
            if time.perf_counter() - started > seconds:
                return False
        self._restored.pop(request, None)
        return True


def _stretch(request: Request) -> int:
    """How many of a request's tokens can be read at once."""
    # The original chooses alpha by the first call's length: read again, the prompt comes by itself first.
    end = request.num_prompt if request.ntk == "original" and request.num_read < request.num_prompt else None
    assert request.cache is not None
    return min(len(request.ids[request.num_read : end]), request.cache.max_pass_tokens)
