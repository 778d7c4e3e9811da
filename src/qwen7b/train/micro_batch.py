"""What the loop computes at once: some sequences, and the token that should follow each of their tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

NO_TARGET = -100
"""Stands where no token is asked for, as in torch's losses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatch:
    """Sequences of any lengths, without padding: each has its own positions, and sees nothing of the others.

    sequences  int64 ids (T,) each, on the CPU
    targets    (R,) the token that should follow each row of all sequences in order, or NO_TARGET
    """

    sequences: tuple[Tensor, ...]
    targets: Tensor

    @property
    def num_tokens(self) -> int:
        return self.targets.shape[0]

    @property
    def num_targets(self) -> int:
        return int((self.targets != NO_TARGET).sum())

    @property
    def num_terms(self) -> int:
        """What a step's loss is the mean over: targets."""
        return self.num_targets


def labelled(sequences: Sequence[Tensor], labels: Sequence[Tensor]) -> MicroBatch:
    """A micro-batch of sequences with labels as Transformers has them: a label stands at its own token's place."""
    nothing = torch.full((1,), NO_TARGET)
    targets = torch.cat([part for one in labels for part in (one[1:], nothing)])
    return MicroBatch(sequences=tuple(sequences), targets=targets)


class Batches(Protocol):
    """The micro-batches of a step, counted from 0: a pure function, so that one integer is all of its state.

    With several ranks it is what this rank computes of the step (`shared_out`).
    """

    def __call__(self, step: int) -> Sequence[MicroBatch]: ...


NOTHING = MicroBatch(sequences=(torch.zeros(1, dtype=torch.int64),), targets=torch.tensor([NO_TARGET]))
"""One token that is not asked for anything."""


def shared_out(
    num_parts: int,
    part: Callable[[int], MicroBatch],
    *,
    nothing: MicroBatch = NOTHING,
    rank: int = 0,
    num_ranks: int = 1,
) -> list[MicroBatch]:
    """What a rank computes of some parts: every `num_ranks`-th from its own number on.

    Ranks wait for each other at each layer, so all compute equally many: where the parts run out, `nothing`, which has
    no term of the loss.
    """
    each = -(-num_parts // num_ranks)
    numbers = range(rank, each * num_ranks, num_ranks)
    return [part(number) if number < num_parts else nothing for number in numbers]
