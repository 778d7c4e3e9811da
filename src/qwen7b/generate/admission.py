"""Which requests run: they are admitted as memory allows, preempted where it is short, and released at the end."""

from __future__ import annotations

from qwen7b.generate.prefixes import count_common
from qwen7b.generate.request import Request
from qwen7b.generate.request_state import State
from qwen7b.generate.slots import Slots
from qwen7b.model.sequence_cache import MAX_PASS_TOKENS
from qwen7b.model.transformer import warn_of_recompute

_WORTH_WAITING = 64
"""A request waits for another to read their common prefix where that saves it, and those like it, so many tokens."""
_WORTH_A_STEP = 16
"""The same for a request that is only read, as for a score: the tokens need only outweigh the step it waits."""


class Admission:
    """Holds the requests that wait and those that run: the most urgent first, as many as there is memory for."""

    def __init__(self, slots: Slots, *, max_running: int) -> None:
        self.slots = slots
        self.max_running = max_running
        self.waiting: list[Request] = []
        self.running: list[Request] = []
        self._awaited: dict[Request, tuple[Request, int]] = {}
        """Maps a waiting request to the one that reads their common prefix, and to the length of that."""

    def admit(self) -> list[Request]:
        """Start the waiting requests that there is room for, and return them."""
        admitted: list[Request] = []
        for request in sorted(self.waiting, key=urgency):
            if len(self.running) >= self.max_running or self._fill_step(request):
                break
            if self._awaits(request):
                continue
            if (cache := self.slots.take(request)) is None:
                if self.running:  # they make room when they end
                    break
                request.fail(self.slots.shortage(len(request.ids)))
                continue
            request.cache = cache
            request.state = State.READING
            self.waiting.remove(request)
            self.running.append(request)
            admitted.append(request)
        self.slots.trim()
        return admitted

    def make_ready(self, request: Request) -> None:
        """Make room for a request's next tokens, if need be by preempting the least urgent."""
        assert request.cache is not None
        if request.ntk == "recompute" and self.slots.alpha(request) != request.cache.alpha:
            warn_of_recompute()
            request.cache.truncate(0)  # its keys are rotated by the old alpha: it is read again, beside the others
            request.cache.planned_length = request.planned_length
            request.state = State.READING
        while request.cache and not self.slots.grow(request.cache, len(request.ids), limit=request.max_length):
            if len(self.running) == 1:
                request.fail(self.slots.shortage(len(request.ids)))
                return
            self._preempt(max(self.running, key=urgency))

    def grow_ahead(self) -> None:
        """Grow the cache that is full soonest, where memory allows, so that not all grow in one step and delay it."""
        caches = [(request.cache, request.max_length) for request in self.running if request.cache is not None]
        growing = [(cache, limit) for cache, limit in caches if cache.capacity < limit]
        if growing:
            cache, limit = min(growing, key=lambda pair: pair[0].capacity - pair[0].length)
            if cache.capacity - cache.length <= len(growing):
                self.slots.grow(cache, cache.capacity + 1, limit=limit)

    def release(self, request: Request) -> None:
        """Remove a request, whether it waits or runs; its cache is kept for its prefix."""
        self._awaited.pop(request, None)
        if request.cache is None:
            self.waiting.remove(request)
            return
        self.running.remove(request)
        self.slots.give_back(request.cache)
        request.cache = None

    def _fill_step(self, request: Request) -> bool:
        """Whether requests that are read before this one fill a step, so that its cache would only lie idle."""
        before = (other for other in self.running if other.state is State.READING and urgency(other) < urgency(request))
        return sum(other.num_unread for other in before) >= MAX_PASS_TOKENS

    def _awaits(self, request: Request) -> bool:
        """Whether to wait for another request that is reading their common prefix, which can then be copied."""
        if request in self._awaited:
            other, length = self._awaited[request]
            if other.state is State.READING and other.num_read < length:
                return True
            del self._awaited[request]
        common = {
            other: min(count_common(request.ids, other.ids), request.needed_from)
            for other in self.running
            if other.state is State.READING and self.slots.alpha(other) == self.slots.alpha(request)
            if other.adapter_weights is request.adapter_weights
            if other.priority >= request.priority  # else those between the two would be read first
        }
        other = max(common, key=common.__getitem__, default=request)
        worthwhile = _WORTH_WAITING if request.on_hidden is None else _WORTH_A_STEP
        num_spared = common[other] - self.slots.longest_prefix(request) if common else 0
        is_gone = bool(common) and other.num_read >= common[other]  # read, yet not found: its ring has wrapped
        if num_spared * request.num_alike < worthwhile or is_gone:
            return False
        self._awaited[request] = other, common[other]
        return True

    def _preempt(self, request: Request) -> None:
        """Free a request's cache and let it wait; it is read again once there is room, which changes no token."""
        assert request.cache is not None
        self.slots.drop(request.cache)
        self.running.remove(request)
        request.cache = None
        request.state = State.WAITING
        self.waiting.append(request)


def urgency(request: Request) -> tuple[int, int]:
    """The key that sorts requests, the most urgent first: by priority, then by arrival."""
    return -request.priority, request.number
