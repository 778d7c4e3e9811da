"""Micro-batches of conversations, each with its own positions and unseen by the others, in an order that is a function.

    epoch   all examples once, in an order drawn from seed and epoch
    step    the next `rows` of them, the shortest first, in micro-batches of at most `micro_tokens` tokens

No token of padding is computed: a model takes sequences of any lengths, and its attention goes over each alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from qwen7b.config.checked import whole_number
from qwen7b.errors import SettingError
from qwen7b.train.labels import TrainingExample
from qwen7b.train.micro_batch import MicroBatch, labelled


class ExampleBatches:
    """The micro-batches of a step, which is all the state that there is."""

    def __init__(self, examples: Sequence[TrainingExample], *, rows: int, micro_tokens: int, seed: int) -> None:
        if not examples:
            raise SettingError("there is no example to train on: give some conversations")
        self.examples = examples
        self.rows = whole_number("rows", rows, minimum=1)
        self.micro_tokens = whole_number("micro_tokens", micro_tokens, minimum=1)
        self.seed = seed
        self._order = lru_cache(maxsize=2)(self._draw_order)

    def steps(self, epochs: float) -> int:
        """How many steps read every example so many times."""
        return max(1, round(len(self.examples) * epochs / self.rows))

    def __call__(self, step: int) -> list[MicroBatch]:
        return [
            labelled(
                [torch.from_numpy(example.input_ids).long() for example in part],
                [torch.from_numpy(example.labels).long() for example in part],
            )
            for part in self._parts(self.chosen(step))
        ]

    def chosen(self, step: int) -> list[TrainingExample]:
        """The examples of a step, counted from 0."""
        epochs = (divmod(place, len(self.examples)) for place in range(step * self.rows, (step + 1) * self.rows))
        return [self.examples[self._order(epoch)[number]] for epoch, number in epochs]

    def _draw_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.examples))

    def _parts(self, examples: Sequence[TrainingExample]) -> list[list[TrainingExample]]:
        """Examples in parts of at most `micro_tokens` tokens; one that is longer is alone."""
        parts: list[list[TrainingExample]] = []
        num_tokens = 0
        for example in sorted(examples, key=lambda example: len(example.input_ids)):  # equal ones share a product
            num_tokens += len(example.input_ids)
            if not parts or num_tokens > self.micro_tokens:
                parts.append([])
                num_tokens = len(example.input_ids)
            parts[-1].append(example)
        return parts
