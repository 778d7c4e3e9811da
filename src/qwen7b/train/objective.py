"""What a run makes smaller: the loss of a micro-batch, and what is logged beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from qwen7b.model import Transformer
from qwen7b.train.loss import summed_loss
from qwen7b.train.micro_batch import MicroBatch


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchLoss:
    """A micro-batch's part of a step. The loop divides all of it by the step's number of terms.

    total   the sum of the loss over the batch's terms: its targets, or its pairs
    logged  sums of what else is of interest, by name
    """

    total: Tensor
    logged: Mapping[str, float] = field(default_factory=dict)


class Objective(Protocol):
    """Computes the loss of a micro-batch, from which gradients flow; products are computed in `dtype`."""

    def __call__(self, model: Transformer, batch: MicroBatch, *, dtype: torch.dtype) -> BatchLoss: ...


def next_token_loss(model: Transformer, batch: MicroBatch, *, dtype: torch.dtype) -> BatchLoss:
    """The cross-entropy of targets, as pretraining and fine-tuning have it."""
    return BatchLoss(total=summed_loss(model, batch, dtype=dtype))
