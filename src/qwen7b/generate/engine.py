"""The engine: requests are added and cancelled while it runs, and every step continues them.

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
from collections.abc import Sequence
from contextlib import nullcontext
from typing import cast

import torch
from torch import Tensor

from qwen7b.generate.admission import Admission
from qwen7b.generate.named_adapters import NamedAdapters
from qwen7b.generate.outcome import take_in
from qwen7b.generate.request import Request
from qwen7b.generate.request_state import State, check_ids
from qwen7b.generate.saved_prefixes import SavedPrefixes
from qwen7b.generate.scheduler import Chunk, Scheduler
from qwen7b.generate.slots import Slots
from qwen7b.generate.speculation import Speculation
from qwen7b.generate.verification import Drafts
from qwen7b.model import Transformer
from qwen7b.model.adapter_weights import AdapterWeights
from qwen7b.model.cache import Cache
from qwen7b.model.sequence_cache import SequenceCache
from qwen7b.system.signals import Interruptible, interrupts_deferred
from qwen7b.system.torch_threads import one_torch_thread


class Engine:
    """Continues requests, by one token each a step, or by more where a draft is right. It knows nothing of text.

    vocab_size   ids at and past it are never picked
    unused_ids   nor are these
    max_bytes    the memory that caches may take, in bytes; None for most of what is free
    max_running  how many requests are read or decoded at a time; others wait
    draft_model  a smaller model of the same vocabulary, for requests with speculate="model"
    saved        the prompts on disk, which are found there and added to
    adapters     the adapters that requests may name; they may change at any time
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
        adapters: NamedAdapters | None = None,
    ) -> None:
        self.model = model
        self.adapters = adapters or NamedAdapters(model)
        self.vocab_size = vocab_size
        self._unused_ids = torch.tensor(unused_ids, dtype=torch.long)
        self.slots = Slots(model, max_bytes=max_bytes, saved=saved, adapters=self.adapters)
        self.admission = Admission(self.slots, max_running=max_running)
        self.scheduler = Scheduler(self.admission)
        self.speculation = Speculation(self.scheduler.pace, draft_model=draft_model, vocab_size=vocab_size)
        self._numbers = itertools.count()
        self._arrived: deque[Request] = deque()

    def add(self, request: Request) -> None:
        """Add a request, which takes part from the next step on.

        Raises ResourceError where it could never fit, and SettingError for ids or an adapter that are not there.
        """
        request.vocab_rows = self.model.config.vocab_rows
        check_ids(request.ids, vocab_rows=request.vocab_rows)
        request.adapter_weights = self.adapters.find(request.adapter)
        self.slots.check_fit(request)
        self.speculation.check(request)
        request.number = next(self._numbers)
        self._arrived.append(request)

    def cancel(self, request: Request) -> None:
        """End a request; its memory is free at the next step."""
        request.is_cancelled = True

    def sweep(self) -> None:
        """Take in the requests that were added, and release those that are over."""
        while self._arrived:
            self.admission.waiting.append(self._arrived.popleft())
        for request in [*self.admission.running, *self.admission.waiting]:
            if request.is_cancelled and not request.is_over:
                request.state = State.CANCELLED
            if request.is_over:
                self.admission.release(request)
                self.scheduler.forget(request)
                self.speculation.forget(request)
        self.slots.forget_adapters()
        if not self.admission.waiting:  # else what was just kept may serve one of them
            self.slots.trim()

    @torch.inference_mode()
    def step(self) -> bool:
        """Run the model once over some tokens of the requests, and add a token to each that is read to its end.

        Returns false where no request is left. Other threads may add and cancel. Ctrl-C loses nothing but the step.
        """
        threads = one_torch_thread() if self.model.own_threads else nullcontext()
        with threads, interrupts_deferred() as interruptible:  # half done, what is outside of it could not be repeated
            self.sweep()
            if chunks := self.scheduler.plan():
                self._run(chunks, interruptible)
            self.sweep()
        return bool(chunks or self.admission.running or self.admission.waiting)

    def _run(self, chunks: Sequence[Chunk], interruptible: Interruptible) -> None:
        """Run the model over the chunks, and give its results to their requests."""
        decoding = [chunk for chunk in chunks if chunk.request.state is State.DECODING]
        try:
            with interruptible():
                drafts = self._draft(decoding, num_rows=sum(chunk.count for chunk in chunks))
                started = time.perf_counter()
                hidden = self._read(chunks, drafts)
            accepted = take_in([chunk.request for chunk in chunks], hidden, drafts, logits_of=self.logits_of)
        except Exception as error:  # no single request caused it, so all in the step fail
            for chunk in chunks:
                chunk.request.fail(error)
            return
        for request, num_accepted in accepted.items():
            self.speculation.learn(request, num_accepted=num_accepted, length=len(drafts[request]))
        num_read = sum(chunk.count for chunk in chunks[len(decoding) :])
        num_decoding = sum(map(len, hidden[: len(decoding)]))
        self.scheduler.pace.measure(time.perf_counter() - started, num_decoding=num_decoding, num_read=num_read)
        with interruptible():
            for chunk in chunks[len(decoding) :]:
                self.slots.save(chunk.request, num_new=chunk.count)

    def _draft(self, decoding: Sequence[Chunk], *, num_rows: int) -> Drafts:
        """Draft tokens after the newest of the decoding requests, for a step that has `num_rows` rows without them."""
        drafted = [chunk for chunk in decoding if chunk.request.speculate is not None]
        room = {chunk.request: self.slots.room_for_draft(chunk.request, chunk.count) for chunk in drafted}
        return self.speculation.draft(room, num_rows=num_rows, num_decoding=len(decoding)) if room else {}

    def _read(self, chunks: Sequence[Chunk], drafts: Drafts) -> list[Tensor]:
        """Read each chunk and its request's draft into the caches. Returns the hidden states (T, C) of each."""
        cache = Cache([cast(SequenceCache, chunk.request.cache) for chunk in chunks])
        new_ids = [chunk.request.unread_ids(chunk.count, drafts.get(chunk.request, ())) for chunk in chunks]
        ((_, hidden_RC),) = self.model.passes(new_ids, cache=cache)
        return list(torch.split(hidden_RC, [ids.shape[0] for ids in new_ids]))

    def logits_of(self, hidden_RC: Tensor, adapters: Sequence[AdapterWeights | None] = ()) -> Tensor:
        """float32 logits (R, V) of rows that may have adapters; ids that may not be picked are cut off or have -inf."""
        logits_RV = self.model.logits(hidden_RC, adapters)[:, : self.vocab_size].float()
        return logits_RV.index_fill_(1, self._unused_ids.to(logits_RV.device), -math.inf)
