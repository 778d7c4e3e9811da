"""A request to the engine: the tokens to continue, how to pick the next ones, and how far it has come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from qwen7b.errors import PromptError, SettingError, counted
from qwen7b.generate.request_state import Processor, State, Token
from qwen7b.model import NtkMode
from qwen7b.model.sequence_cache import SequenceCache
from qwen7b.sampling.picking import SamplingState
from qwen7b.sampling.sampling import Greedy, Sample, Sampling
from qwen7b.sampling.token_logprob import TokenLogprob


@dataclass(eq=False, kw_only=True)
class Request:
    """One sequence to be continued. What it becomes does not depend on the requests beside it.

    ids           the prompt's token ids; the engine appends the reply's
    max_length    the number of tokens that the sequence may have in all
    stop_ids      the ids that end it
    processors    applied to its logits in this order, before the penalties and the bias of `sampling`
    forced        told all ids behind each new token, names ids that come next without being picked
    logprobs      None for no log-probabilities, else how many likeliest tokens to list with each
    priority      requests of a higher one are read first, and set back last
    num_alike     requests with these ids that come together, which do better to read them once
    speculate     who drafts its next tokens, by a name that the engine knows; None for nobody
    adapter       the weights it is computed with; None for the model's own. Prefixes are shared only within one
    on_token      told each new token; ends the request by returning true
    on_prompt     told the tokens read so far and all there are, while a prompt takes several passes
    on_error      told why the request failed
    on_hidden     makes it a request to read only: told the position of the first, and the hidden states (T, C), of
                  every stretch of tokens from `hidden_from` on; nothing is picked, and all ids are read
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
    cache: SequenceCache | None = field(init=False, default=None)
    state: State = field(init=False, default=State.WAITING)
    error: Exception | None = field(init=False, default=None)
    is_cancelled: bool = field(init=False, default=False)
    """Whether its end was asked for: any thread may, while the state is the stepping one's."""
    queue: deque[int] = field(init=False, default_factory=deque)
    """The forced ids that are to come."""

    def __post_init__(self) -> None:
        if not self.ids:
            raise PromptError("a request has no tokens: give at least one to continue")
        if self.on_hidden is None and len(self.ids) >= self.max_length:
            raise PromptError(
                f"the prompt has {counted(len(self.ids), 'token')}, which leaves none of {self.max_length} for a "
                "reply: shorten it"
            )
        if self.adapter is not None:
            raise SettingError(f"there is no adapter {self.adapter!r}: leave it out")
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
        """The first position whose hidden state is needed, so that it has to be computed even where it is known."""
        return self.hidden_from if self.on_hidden is not None else len(self.ids) - 1

    @property
    def num_unread(self) -> int:
        return len(self.ids) - self.num_read

    @property
    def planned_length(self) -> int:
        """The length that dynamic NTK chooses alpha for when reading begins."""
        return {"recompute": len(self.ids), "original": self.num_prompt, "reserve": self.max_length}[self.ntk]

    def unread_ids(self, count: int, draft: Sequence[int] = ()) -> Tensor:
        """The first `count` ids that are not in the cache yet, and those of a draft behind them."""
        return torch.tensor([*self.ids[self.num_read : self.num_read + count], *draft])

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Within it an error is this request's own, and ends it."""
        try:
            yield
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        self.state, self.error = State.FAILED, error
        if self.on_error is not None:
            self.on_error(error)

    def add(self, token_id: int, logprob: TokenLogprob | None) -> None:
        """Take in a token, and with it those that are forced behind it."""
        self._take_in(token_id, logprob)
        # With log-probabilities every token needs logits of its own; without, forced ones are read together.
        while self.state is State.DECODING and self.queue and self.logprobs is None:
            self._take_in(self.queue.popleft(), None)

    def _take_in(self, token_id: int, logprob: TokenLogprob | None) -> None:
        self.ids.append(token_id)
        self.sampling_state.add(token_id)
        is_last = token_id in self.stop_ids or len(self.ids) >= self.max_length
        is_ended = self.on_token is not None and self.on_token(Token(token_id, logprob, is_last))
        self.state = State.DONE if is_last or is_ended else State.DECODING
        if self.forced is not None and not self.queue:
            self.queue.extend(self.forced(self.ids))
