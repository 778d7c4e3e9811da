"""What state a request is in, what it is told, and what may act on its logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor

from qwen7b.sampling.token_logprob import TokenLogprob

Processor = Callable[[Sequence[int], Tensor], Tensor]
"""Changes the logits (V,) of the next token, given all ids so far; it may change them in place."""


class State(StrEnum):
    WAITING = "waiting"
    READING = "reading"
    DECODING = "decoding"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        return self in (State.DONE, State.CANCELLED, State.FAILED)


@dataclass(frozen=True, slots=True)
class Token:
    """A token that joined a request's ids."""

    id: int
    logprob: TokenLogprob | None
    is_last: bool
