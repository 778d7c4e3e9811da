"""Micro-batches of pairs of answers, and what a reference model thinks of them, which is computed once.

A pair's reference is computed in the micro-batch in which it is first read, whichever step a run begins with: so a run
that was stopped goes on with the same bits.
"""

from __future__ import annotations

from itertools import count

import torch
from torch import Tensor

from qwen7b.model import Transformer
from qwen7b.system.progress import progress
from qwen7b.train.example_batches import ExampleOrder
from qwen7b.train.preference_examples import PreferenceExample
from qwen7b.train.preference_loss import PreferenceBatch, pairs_batch, sequence_logprobs


class PreferenceBatches:
    """The micro-batches of a step of pairs, once `read_reference` has read those pairs."""

    def __init__(self, order: ExampleOrder[PreferenceExample]) -> None:
        self.order = order
        self._reference: dict[PreferenceExample, Tensor] = {}

    def __call__(self, step: int) -> list[PreferenceBatch]:
        return [
            pairs_batch(part, torch.stack([self._reference[one] for one in part], dim=1))
            for part in self.order.parts(step)
        ]

    @torch.no_grad()
    def read_reference(self, model: Transformer, steps: range, *, dtype: torch.dtype) -> None:
        """Compute ln p of all pairs that these steps read, under the model as it is now."""
        needed = {one for step in steps for one in self.order.chosen(step)}
        seen: set[PreferenceExample] = set()
        model.train()  # as the loop computes: without what dynamic NTK and LogN do in eval mode
        with progress("Reading the answers as the reference", len(needed), " pairs") as report:
            for step in count():
                if needed <= self._reference.keys():
                    break
                for part in self.order.parts(step):
                    new = {one for one in part if one in needed and one not in seen}
                    seen.update(part)
                    if new:
                        batch = pairs_batch(part, torch.zeros(2, len(part)))
                        logprobs = sequence_logprobs(model, batch, dtype=dtype).view(2, -1).cpu()
                        pairs = zip(part, logprobs.unbind(dim=1), strict=True)
                        self._reference |= {one: values for one, values in pairs if one in new}
                        report(len(new))
        model.eval()
