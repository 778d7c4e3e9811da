"""Which tokens a step reads: the newest of every decoding request, then as much of prompts as the time allows."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qwen7b.generate.pace import Pace
from qwen7b.generate.request import Request, State
from qwen7b.generate.slots import Slots, count_common
from qwen7b.model.sequence_cache import MAX_NEW_TOKENS
from qwen7b.model.transformer import warn_of_recompute

_MAX_READING_SHARE = 8
"""Reading prompts never makes a step of decoding requests longer than by so many times its own length."""
_WORTH_WAITING = 64
"""A request waits for another to read its prompt where that spares it, and those like it, so many tokens."""
_WORTH_A_STEP = 16
"""Where nobody waits for its reply, it is enough if they are more work than the step that it takes longer."""


@dataclass(frozen=True, slots=True)
class Share:
    """A request's part in a step: the next `count` of its ids that are not in its cache."""

    request: Request
    count: int


class Scheduler:
    """Requests that wait, those that run, and how a step is divided among them."""

    def __init__(self, slots: Slots, *, max_running: int) -> None:
        self.slots = slots
        self.pace = Pace()
        self.max_running = max_running
        self.waiting: list[Request] = []
        self.running: list[Request] = []
        self._awaited: dict[Request, tuple[Request, int]] = {}
        """Which request reads what a waiting one begins with, and how many tokens that are."""
        self._restored: dict[Request, Iterator[None]] = {}
        """The requests whose beginnings may be saved, and how they are gone on with from there."""

    def plan(self) -> list[Share]:
        """Admit whom there is room for, and divide the next step."""
        self._admit()
        self.slots.trim()
        for request in self.running:  # a step that was interrupted, or a draft, may have left more
            assert request.cache is not None
            if request.num_read > request.needed_from:
                request.cache.truncate(request.needed_from)
        for request in sorted(self.running, key=_urgency):
            if request.state is State.DECODING:
                self._make_ready(request)
        decoding = [Share(request, _stretch(request)) for request in self.running if request.state is State.DECODING]
        left = self._rows_to_read([share.request for share in decoding])
        reading = []
        for request in sorted(self.running, key=_urgency):
            if request.state is State.READING and left and self._is_restored(request, num_decoding=len(decoding)):
                reading.append(Share(request, min(_stretch(request), left)))
                left -= reading[-1].count
        return decoding + reading

    def _rows_to_read(self, decoding: Sequence[Request]) -> int:
        """The rows of prompts that a step takes beside those that decode.

        At most half of its time, so that a long prompt stalls nobody; but the more requests wait for each one that
        decodes the more of it, as a pass of few rows is slow for what it reads, and those who wait have nothing yet.
        """
        if not decoding:
            return MAX_NEW_TOKENS
        reading = [*self.waiting, *(request for request in self.running if request.state is State.READING)]
        priority = min(request.priority for request in decoding)  # what comes behind all of them does not count
        num_reading = sum(request.priority >= priority for request in reading)
        share = min(max(2 * (num_reading - 1) / len(decoding), 1.0), _MAX_READING_SHARE)
        return min(self.pace.rows_within(share, num_decoding=len(decoding)), MAX_NEW_TOKENS)

    def release(self, request: Request) -> None:
        """Let a request go, wherever it is."""
        self._awaited.pop(request, None)
        self._restored.pop(request, None)
        if request.cache is None:
            self.waiting.remove(request)
            return
        self.running.remove(request)
        self.slots.give_back(request.cache)
        request.cache = None

    def _admit(self) -> None:
        self.waiting.sort(key=_urgency)
        for request in list(self.waiting):
            if len(self.running) >= self.max_running or self._fill_step(request):
                return
            if self._awaits(request):
                continue
            if (cache := self.slots.take(request)) is None:
                if self.running:  # they will make room
                    return
                request.fail(self.slots.shortage(len(request.ids)))
                continue
            request.cache = cache
            request.state = State.READING
            self.waiting.remove(request)
            self.running.append(request)
            self._restored[request] = self.slots.restore(request)

    def _is_restored(self, request: Request, *, num_decoding: int) -> bool:
        """Go on with what is saved of a prompt; false where more is to come, so that others are not kept waiting."""
        seconds = self.pace.seconds_of_rows([num_decoding])[0] if num_decoding else math.inf
        started = time.perf_counter()
        for _ in self._restored.get(request, ()):
            if time.perf_counter() - started > seconds:
                return False
        self._restored.pop(request, None)
        return True

    def _fill_step(self, request: Request) -> bool:
        """Whether requests that are read before this one fill a step, so that memory for it would only lie idle."""
        before = (
            other for other in self.running if other.state is State.READING and _urgency(other) < _urgency(request)
        )
        return sum(other.num_unread for other in before) >= MAX_NEW_TOKENS

    def _awaits(self, request: Request) -> bool:
        """Whether another is reading what a request begins with, so that it will soon be there to copy."""
        if request in self._awaited:
            other, length = self._awaited[request]
            if other.state is State.READING and other.num_read < length:
                return True
            del self._awaited[request]
        common = {
            other: min(count_common(request.ids, other.ids), request.needed_from)
            for other in self.running
            if other.state is State.READING and self.slots.alpha(other) == self.slots.alpha(request)
        }
        other = max(common, key=common.__getitem__, default=request)
        worthwhile = _WORTH_WAITING if request.on_hidden is None else _WORTH_A_STEP
        num_spared = common[other] - self.slots.longest_prefix(request) if common else 0
        if (
            num_spared * request.num_alike < worthwhile or other.num_read >= common[other]
        ):  # a ring that wound around keeps nothing to copy
            return False
        self._awaited[request] = other, common[other]
        return True

    def _make_ready(self, request: Request) -> None:
        """Make room for a request's next tokens, if need be by setting the least urgent back."""
        assert request.cache is not None
        if request.ntk == "recompute" and self.slots.alpha(request) != request.cache.alpha:
            warn_of_recompute()
            request.cache.truncate(0)  # its keys were turned by the old alpha: it reads all again as others go on
            request.cache.planned_length = request.planned_length
            request.state = State.READING
        while request.cache and not self.slots.grow(request.cache, len(request.ids), limit=request.max_length):
            if len(self.running) == 1:
                request.fail(self.slots.shortage(len(request.ids)))
                return
            self._set_back(max(self.running, key=_urgency))

    def _set_back(self, request: Request) -> None:
        """Free a request's memory; it reads all again once there is room."""
        assert request.cache is not None
        self._restored.pop(request, None)
        self.slots.drop(request.cache)
        self.running.remove(request)
        request.cache = None
        request.state = State.WAITING
        self.waiting.append(request)


def _urgency(request: Request) -> tuple[int, int]:
    return -request.priority, request.number


def _stretch(request: Request) -> int:
    """How many of a request's tokens can be read at once."""
    # The original chooses alpha by the first call's length: read again, the prompt comes by itself first.
    end = request.num_prompt if request.ntk == "original" and request.num_read < request.num_prompt else None
    assert request.cache is not None
    return min(len(request.ids[request.num_read : end]), request.cache.max_new_tokens)
