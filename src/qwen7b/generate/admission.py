"""Which requests run: who is let in, whom a shortage of memory sets back, and what is left behind at the end."""

from __future__ import annotations

from qwen7b.generate.prefixes import count_common
from qwen7b.generate.request import Request
from qwen7b.generate.request_state import State
from qwen7b.generate.slots import Slots
from qwen7b.model.sequence_cache import MAX_NEW_TOKENS
from qwen7b.model.transformer import warn_of_recompute

_WORTH_WAITING = 64
"""A request waits for another to read its prompt where that spares it, and those like it, so many tokens."""
_WORTH_A_STEP = 16
"""Where nobody waits for its reply, it is enough if they are more work than the step that it takes longer."""


class Admission:
    """Requests that wait, and those that run: the most urgent first, as many as there is memory for."""

    def __init__(self, slots: Slots, *, max_running: int) -> None:
        self.slots = slots
        self.max_running = max_running
        self.waiting: list[Request] = []
        self.running: list[Request] = []
        self._awaited: dict[Request, tuple[Request, int]] = {}
        """Which request reads what a waiting one begins with, and how many tokens that are."""

    def admit(self) -> list[Request]:
        """Let requests run that there is room for, and return them."""
        admitted: list[Request] = []
        for request in sorted(self.waiting, key=urgency):
            if len(self.running) >= self.max_running or self._fill_step(request):
                break
            if self._awaits(request):
                continue
            if (cache := self.slots.take(request)) is None:
                if self.running:  # they will make room
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
            self._preempt(max(self.running, key=urgency))

    def release(self, request: Request) -> None:
        """Let a request go, wherever it is."""
        self._awaited.pop(request, None)
        if request.cache is None:
            self.waiting.remove(request)
            return
        self.running.remove(request)
        self.slots.give_back(request.cache)
        request.cache = None

    def _fill_step(self, request: Request) -> bool:
        """Whether requests that are read before this one fill a step, so that memory for it would only lie idle."""
        before = (other for other in self.running if other.state is State.READING and urgency(other) < urgency(request))
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
        is_gone = bool(common) and other.num_read >= common[other]  # a ring that wound around keeps nothing to copy
        if num_spared * request.num_alike < worthwhile or is_gone:
            return False
        self._awaited[request] = other, common[other]
        return True

    def _preempt(self, request: Request) -> None:
        """Free a request's memory; it reads all again once there is room."""
        assert request.cache is not None
        self.slots.drop(request.cache)
        self.running.remove(request)
        request.cache = None
        request.state = State.WAITING
        self.waiting.append(request)


def urgency(request: Request) -> tuple[int, int]:
    """What requests are sorted by, the most urgent first."""
    return -request.priority, request.number
