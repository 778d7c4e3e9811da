"""A request's states, the tokens it gains, and the type of the functions that act on its logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor

from qwen7b.errors import SettingError, quoted
from qwen7b.sampling.token_logprob import TokenLogprob

Processor = Callable[[Sequence[int], Tensor], Tensor]
"""Takes all ids so far and the next token's float32 logits (V,); returns others, or the same changed in place."""


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
    """A token that was appended to a request's ids."""

    id: int
    logprob: TokenLogprob | None
    is_last: bool


def check_ids(ids: Sequence[int], *, vocab_rows: int) -> None:
    """Raise SettingError for an id that a model of so many rows does not have."""
    for token_id in ids:
        if not isinstance(token_id, int) or not 0 <= token_id < vocab_rows:
            raise SettingError(f"token ids are numbers from 0 to {vocab_rows - 1}, found {quoted(token_id)}")
