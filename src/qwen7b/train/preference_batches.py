"""Micro-batches of pairs of answers, and what a reference model thinks of them, which is computed once.

A pair's reference is computed in the micro-batch in which it is first read, whichever step a run begins with: so a run
that was stopped goes on with the same bits, whichever rank computes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count

import torch
from torch import Tensor

from qwen7b.model import Transformer
from qwen7b.system.progress import progress
from qwen7b.train.example_batches import ExampleOrder
from qwen7b.train.micro_batch import MicroBatch, shared_out
from qwen7b.train.preference_examples import PreferenceExample
from qwen7b.train.preference_loss import NO_PAIR, PreferenceBatch, pair_logprobs, pairs_batch
from qwen7b.train.ranks import ALONE, Ranks

Part = Sequence[PreferenceExample]


class PreferenceBatches:
    """The micro-batches of a step of pairs, of which each rank has its own, once `read_reference` has read them."""

    def __init__(self, order: ExampleOrder[PreferenceExample], ranks: Ranks = ALONE) -> None:
        self.order, self.ranks = order, ranks
        self._reference: dict[PreferenceExample, Tensor] = {}

    def __call__(self, step: int) -> list[MicroBatch]:
        return self._own_batches(self.order.parts(step), self._reference)

    @torch.no_grad()
    def read_reference(self, model: Transformer, steps: range, *, dtype: torch.dtype) -> None:
        """Compute ln p of all pairs that these steps read, under the model as it is now; each rank reads some."""
        needed = {one for step in steps for one in self.order.chosen(step)}
        unread = dict.fromkeys(self.order.examples, torch.zeros(2))
        parts, num_ranks = [*self._where_first_read(needed)], self.ranks.num_ranks
        model.train()  # as the loop computes: without what dynamic NTK and LogN do in eval mode
        with progress("Reading the answers as the reference", len(needed), " pairs") as report:
            for start in range(0, len(parts), num_ranks):
                together = parts[start : start + num_ranks]
                (own,) = self._own_batches(together, unread)
                logprobs = self.ranks.gather(self.ranks.run(pair_logprobs, model, own, dtype=dtype).cpu())
                before = len(self._reference)
                for part, values in zip(together, logprobs, strict=False):  # the last ranks may have no part
                    for one, value in zip(part, values.unbind(dim=1), strict=True):
                        if one in needed:
                            self._reference.setdefault(one, value)
                report(len(self._reference) - before)
        model.eval()

    def _own_batches(self, parts: Sequence[Part], reference: Mapping[PreferenceExample, Tensor]) -> list[MicroBatch]:
        def batch(number: int) -> PreferenceBatch:
            part = parts[number]
            return pairs_batch(part, torch.stack([reference[one] for one in part], dim=1))

        ranks = self.ranks
        return shared_out(len(parts), batch, nothing=NO_PAIR, rank=ranks.rank, num_ranks=ranks.num_ranks)

    def _where_first_read(self, pairs: set[PreferenceExample]) -> Iterator[Part]:
        """The parts of steps, from the first on, in which one of some pairs is read for the first time."""
        left = set(pairs)
        for step in count():
            if not left:
                break
            for part in self.order.parts(step):
                if not left.isdisjoint(part):
                    yield part
                    left.difference_update(part)
