"""What the loop computes at once: some sequences, and the token that should follow each of their tokens."""

from __future__ import annotations

from collections.abc import Sequence
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

    With several ranks it is what this rank computes of the step.
    """

    def __call__(self, step: int) -> Sequence[MicroBatch]: ...
