"""Micro-batches of conversations, each with its own positions and unseen by the others, in an order that is a function.

    epoch   all examples once, in an order drawn from seed and epoch
    step    the next `rows` of them, the shortest first, in micro-batches of at most `micro_tokens` tokens

No token of padding is computed: a model takes sequences of any lengths, and its attention goes over each alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch

from qwen7b.config.checked import whole_number
from qwen7b.errors import SettingError
from qwen7b.train.labels import TrainingExample
from qwen7b.train.micro_batch import MicroBatch, labelled, shared_out
from qwen7b.train.ranks import ALONE, Ranks


class HasTokens(Protocol):
    """What a step has some of: a conversation, or a pair of them."""

    @property
    def num_tokens(self) -> int: ...


ExampleT = TypeVar("ExampleT", bound=HasTokens)


class ExampleOrder(Generic[ExampleT]):
    """Which examples a step has, and which of them are computed at once; the step is all the state that there is."""

    def __init__(self, examples: Sequence[ExampleT], *, rows: int, micro_tokens: int, seed: int) -> None:
        if not examples:
            raise SettingError("there is no example to train on: give some conversations")
        self.examples = examples
        self.rows = whole_number("rows", rows, minimum=1)
        self.micro_tokens = whole_number("micro_tokens", micro_tokens, minimum=1)
        self.seed = seed
        self._order = lru_cache(maxsize=2)(self._draw_order)

    def chosen(self, step: int) -> list[ExampleT]:
        """The examples of a step, counted from 0."""
        epochs = (divmod(place, len(self.examples)) for place in range(step * self.rows, (step + 1) * self.rows))
        return [self.examples[self._order(epoch)[number]] for epoch, number in epochs]

    def parts(self, step: int) -> list[list[ExampleT]]:
        """The examples of a step in parts of at most `micro_tokens` tokens; one that is longer is alone."""
        parts: list[list[ExampleT]] = []
        num_tokens = 0
        for example in sorted(self.chosen(step), key=lambda one: one.num_tokens):  # equal ones share a product
            num_tokens += example.num_tokens
            if not parts or num_tokens > self.micro_tokens:
                parts.append([])
                num_tokens = example.num_tokens
            parts[-1].append(example)
        return parts

    def _draw_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.examples))


class ExampleBatches:
    """The micro-batches of a step of conversations, of which each rank has its own."""

    def __init__(self, order: ExampleOrder[TrainingExample], ranks: Ranks = ALONE) -> None:
        self.order, self.ranks = order, ranks

    def __call__(self, step: int) -> list[MicroBatch]:
        parts, ranks = self.order.parts(step), self.ranks
        return shared_out(
            len(parts), lambda number: examples_batch(parts[number]), rank=ranks.rank, num_ranks=ranks.num_ranks
        )


def examples_batch(examples: Sequence[TrainingExample]) -> MicroBatch:
    """The micro-batch of some examples."""
    return labelled(
        [torch.from_numpy(example.input_ids).long() for example in examples],
        [torch.from_numpy(example.labels).long() for example in examples],
    )
