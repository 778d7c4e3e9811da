"""A request to the engine: the tokens to continue, how to pick the next ones, and how far it has come."""

from __future__ import annotations

import sys
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice

import torch
from torch import Tensor

from qwen7b.errors import PromptError, counted
from qwen7b.generate.request_state import Processor, State, Token, check_ids
from qwen7b.model import NtkMode
from qwen7b.model.adapter_weights import AdapterWeights
from qwen7b.model.sequence_cache import SequenceCache
from qwen7b.sampling.picking import SamplingState
from qwen7b.sampling.sampling import Greedy, Sample, Sampling
from qwen7b.sampling.token_logprob import TokenLogprob


@dataclass(eq=False, kw_only=True)
class Request:
    """One sequence to be continued. Its reply does not depend on the requests beside it.

    ids           the prompt's token ids, to which the engine appends the reply's
    max_length    the number of tokens that the sequence may have in all
    stop_ids      the ids that end it
    processors    applied to its logits in this order, before the penalties and the bias of `sampling`
    forced        called with all ids after each new token; returns ids that come next without being picked
    logprobs      None for no log-probabilities, else how many of the likeliest tokens to list with each
    priority      requests of a higher one are read first and preempted last, and among equals the earlier
    num_alike     how many requests with these ids come together, so that one should read them for all
    speculate     the name of the engine's drafter for it; None for no drafts
    adapter       the name of the adapter it is computed with; None for none. Prefixes are shared only within one
    on_token      called with each new token; ends the request by returning true
    on_prompt     called with the tokens read and their total, while a prompt takes several passes
    on_error      called with the error where the request failed
    on_hidden     makes it a request that is only read: called with hidden states (T, C) and the position of the first,
                  until all from `hidden_from` on are given; nothing is picked
    """

    ids: list[int]
    max_length: int
    sampling: Sampling = field(default_factory=Greedy)
    stop_ids: frozenset[int] = frozenset()
    processors: Sequence[Processor] = ()
    forced: Callable[[Sequence[int]], Sequence[int]] | None = None
    logprobs: int | None = None
    ntk: NtkMode = "recompute"
    priority: int = 0
    num_alike: int = 1
    speculate: str | None = None
    adapter: str | None = None
    on_token: Callable[[Token], bool] | None = None
    on_prompt: Callable[[int, int], None] | None = None
    on_error: Callable[[Exception], None] | None = None
    on_hidden: Callable[[int, Tensor], None] | None = None
    hidden_from: int = 0

    number: int = field(init=False, default=0)
    """The place in the order of arrival."""
    num_prompt: int = field(init=False)
    vocab_rows: int = field(init=False, default=sys.maxsize)
    adapter_weights: AdapterWeights | None = field(init=False, default=None)
    """The adapter that its name meant when it was added."""
    cache: SequenceCache | None = field(init=False, default=None)
    state: State = field(init=False, default=State.WAITING)
    error: Exception | None = field(init=False, default=None)
    is_cancelled: bool = field(init=False, default=False)
    """Whether cancelling was asked for. Any thread may set it; only the one that steps sets `state`."""
    queue: deque[int] = field(init=False, default_factory=deque)
    """The forced ids that come next."""

    def __post_init__(self) -> None:
        if not self.ids:
            raise PromptError("a request has no tokens: give at least one to continue")
        if self.on_hidden is None and len(self.ids) >= self.max_length:
            raise PromptError(
                f"the prompt has {counted(len(self.ids), 'token')}, which leaves none of {self.max_length} for a "
                "reply: shorten it"
            )
        self.num_prompt = len(self.ids)
        self.sampling_state = SamplingState(self.ids, self.sampling)
        self.shared_sampling = replace(self.sampling, seed=None) if isinstance(self.sampling, Sample) else self.sampling

    @property
    def is_over(self) -> bool:
        return self.state.is_over

    @property
    def num_read(self) -> int:
        return 0 if self.cache is None else self.cache.length

    @property
    def needed_from(self) -> int:
        """The first position whose hidden state is needed, which keys and values of a prefix do not give."""
        return self.hidden_from if self.on_hidden is not None else len(self.ids) - 1

    @property
    def num_unread(self) -> int:
        return len(self.ids) - self.num_read

    @property
    def planned_length(self) -> int:
        """The length for which dynamic NTK chooses alpha when reading begins."""
        return {"recompute": len(self.ids), "original": self.num_prompt, "reserve": self.max_length}[self.ntk]

    def unread_ids(self, count: int, draft: Sequence[int] = ()) -> Tensor:
        """The first `count` ids that are not in the cache yet, followed by those of a draft."""
        return torch.tensor([*self.ids[self.num_read : self.num_read + count], *draft])

    @contextmanager
    def failing(self) -> Iterator[None]:
        """A context in which an error fails this request only."""
        try:
            yield
        except (Exception, CancelledError) as error:  # the latter would end the task that runs the step, for all
            what = f"a function of the request raised {error!r}"
            self.fail(error if isinstance(error, Exception) else RuntimeError(what))

    def fail(self, error: Exception) -> None:
        self.state, self.error = State.FAILED, error
        if self.on_error is not None:
            try:
                self.on_error(error)
            except Exception as another:  # who is to hear of it is gone, as an event loop may be
                error.add_note(f"on_error raised {another!r}")

    def add(self, token_id: int, logprob: TokenLogprob | None) -> None:
        """Append a token, and those that are forced after it."""
        self._take_in(token_id, logprob)
        # With log-probabilities every token needs logits of its own; without, forced ones are read together.
        while self.state is State.DECODING and self.queue and self.logprobs is None:
            self._take_in(self.queue.popleft(), None)

    def _take_in(self, token_id: int, logprob: TokenLogprob | None) -> None:
        self.ids.append(token_id)
        self.sampling_state.add(token_id)
        is_last = token_id in self.stop_ids or len(self.ids) >= self.max_length
        self.state = State.DONE if is_last else State.DECODING  # whatever on_token raises
        if self.on_token is not None and self.on_token(Token(token_id, logprob, is_last)):
            self.state = State.DONE
        if self.forced is not None and not self.queue and self.state is State.DECODING:
            forced = [*islice(self.forced(list(self.ids)), self.max_length - len(self.ids))]  # they may have no end
            check_ids(forced, vocab_rows=self.vocab_rows)
            self.queue.extend(forced)
