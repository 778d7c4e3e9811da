"""The engine: requests are added and cancelled while it runs, and every step takes all of them further.

engine = Engine(model, vocab_size=tokenizer.vocab_size)
request = Request(ids=prompt, max_length=64)
engine.add(request)
while engine.step(): ...
request.ids[request.num_prompt:]
"""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from qwen7b.generate.request import Request, State
from qwen7b.generate.saved_prefixes import SavedPrefixes
from qwen7b.generate.scheduler import Scheduler, Share
from qwen7b.generate.slots import Slots
from qwen7b.generate.speculation import Speculation
from qwen7b.generate.verification import Drafts, add_tokens
from qwen7b.model import Transformer
from qwen7b.model.cache import Cache
from qwen7b.model.sequence_cache import SequenceCache
from qwen7b.system.signals import interrupts_deferred


class Engine:
    """Continues requests, one token each at every step, or more where a draft is right. Knows nothing of text.

    vocab_size   ids at and past it are never picked
    unused_ids   nor are these
    max_bytes    the memory that caches may take; None for most of what is free
    max_running  requests that are read or decoded at a time; others wait
    draft_model  a smaller model of the same vocabulary, which requests that say speculate="model" are drafted by
    saved        where prompts are found that were read before, and kept for later
    """

    def __init__(
        self,
        model: Transformer,
        *,
        vocab_size: int,
        unused_ids: Sequence[int] = (),
        max_bytes: int | None = None,
        max_running: int = 64,
        draft_model: Transformer | None = None,
        saved: SavedPrefixes | None = None,
    ) -> None:
        self.model = model
        self.vocab_size = vocab_size
        self.unused_ids = list(unused_ids)
        self.slots = Slots(model, max_bytes=max_bytes, saved=saved)
        self.scheduler = Scheduler(self.slots, max_running=max_running)
        self.speculation = Speculation(self.scheduler.pace, draft_model=draft_model, vocab_size=vocab_size)
        self._numbers = itertools.count()
        self._arrived: deque[Request] = deque()

    def add(self, request: Request) -> None:
        """Let a request take part from the next step on. Raises ResourceError where it could never fit."""
        self.slots.check_fit(request)
        self.speculation.check(request)
        request.number = next(self._numbers)
        self._arrived.append(request)

    def cancel(self, request: Request) -> None:
        """End a request; its memory is free at the next step."""
        request.is_cancelled = True

    def sweep(self) -> None:
        """Let the requests in that were added, and those go that are over."""
        while self._arrived:
            self.scheduler.waiting.append(self._arrived.popleft())
        for request in [*self.scheduler.running, *self.scheduler.waiting]:
            if request.is_cancelled and not request.is_over:
                request.state = State.CANCELLED
            if request.is_over:
                self.scheduler.release(request)
                self.speculation.forget(request)
        if not self.scheduler.waiting:  # else those come first who may go on from what is left
            self.slots.trim()

    @torch.inference_mode()
    def step(self) -> bool:
        """Read some tokens of the requests, and add one to each that is read up to its last; false if there is none.

        add and cancel may be called meanwhile by other threads. Ctrl-C loses nothing but the step.
        """
        self.sweep()
        if not (shares := self.scheduler.plan()):
            self.sweep()
            return bool(self.scheduler.running or self.scheduler.waiting)
        decoding = [share for share in shares if share.request.state is State.DECODING]
        try:
            drafts = self._draft(decoding, num_rows=sum(share.count for share in shares))
            started = time.perf_counter()
            hidden = self._read(shares, drafts)
        except Exception as error:  # it is no request's own, so all of them fail
            for share in shares:
                share.request.fail(error)
        else:
            with interrupts_deferred():  # half done, it could not be taken up again
                self._take_in([share.request for share in shares], hidden, drafts)
            num_read = sum(share.count for share in shares[len(decoding) :])
            num_decoding = sum(map(len, hidden[: len(decoding)]))
            self.scheduler.pace.measure(time.perf_counter() - started, num_decoding=num_decoding, num_read=num_read)
            for share in shares[len(decoding) :]:
                self.slots.save(share.request, num_new=share.count)
        self.sweep()
        return True

    def _draft(self, decoding: Sequence[Share], *, num_rows: int) -> Drafts:
        """What may come behind the newest tokens of decoding requests, in a step of so many rows."""
        room = {share.request: self.slots.room_for_draft(share.request, share.count) for share in decoding}
        return self.speculation.draft(room, num_rows=num_rows)

    def _read(self, shares: Sequence[Share], drafts: Drafts) -> list[Tensor]:
        """Put each share's tokens into its cache, and the request's draft behind them; their hidden states (T, C)."""
        cache = Cache([cast(SequenceCache, share.request.cache) for share in shares])
        new_ids = [share.request.unread_ids(share.count, drafts.get(share.request, ())) for share in shares]
        ((_, hidden_RC),) = self.model.passes(new_ids, cache=cache)
        return list(torch.split(hidden_RC, [len(ids) for ids in new_ids]))

    def _take_in(self, requests: Sequence[Request], hidden: Sequence[Tensor], drafts: Drafts) -> None:
        """Do for each request what its newest tokens allow."""
        last = {}
        for request, hidden_TC in zip(requests, hidden, strict=True):
            if request.on_hidden is not None:
                _report_hidden(request, hidden_TC)
            elif request.num_unread <= 0:
                last[request] = hidden_TC[-1 - len(drafts.get(request, ())) :]
            elif request.on_prompt is not None:
                with request.failing():
                    request.on_prompt(request.num_read, len(request.ids))
        if last:
            self._add_tokens(last, drafts)

    def _add_tokens(self, hidden: Mapping[Request, Tensor], drafts: Drafts) -> None:
        """Add a token to each request, given the hidden states (T, C) of its newest token and of its draft."""
        logits_RV = self.model.head(torch.cat(list(hidden.values())))[:, : self.vocab_size].float()
        logits_RV[:, self.unused_ids] = -math.inf
        num_rows = {request: len(hidden_TC) for request, hidden_TC in hidden.items()}
        for request, num_accepted in add_tokens(num_rows, logits_RV, drafts).items():
            self.speculation.learn(request, num_accepted=num_accepted, length=len(drafts[request]))


def _report_hidden(request: Request, hidden_TC: Tensor) -> None:
    assert request.on_hidden is not None
    start = max(request.num_read - len(hidden_TC), request.hidden_from)
    if start < request.num_read:
        with request.failing():
            request.on_hidden(start, hidden_TC[start - request.num_read :])
        request.hidden_from = request.num_read
    if not request.num_unread and not request.is_over:
        request.state = State.DONE
