"""The loss of a micro-batch: the summed cross-entropy of its targets, without ever holding all their logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from qwen7b.model import Cache, Transformer
from qwen7b.model.rows import Rows
from qwen7b.train.micro_batch import NO_TARGET, MicroBatch

_CHUNK_LOGITS = 1 << 22
"""The logits that are held at once."""


def summed_loss(model: Transformer, batch: MicroBatch, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """The sum of -ln p over the targets of a micro-batch, as float32; products are computed in `dtype`.

    The model's own readable forward does all but the head. A micro-batch without a target has the loss 0 and gradients
    of 0.
    """
    with torch.autocast(model.device.type, dtype=dtype, enabled=dtype != torch.float32):
        ((_, hidden_RC),) = model.passes(batch.sequences)
    targets = batch.targets.to(hidden_RC.device)
    asked = (targets != NO_TARGET).nonzero()[:, 0]
    if len(asked) == 0:
        return hidden_RC.sum() * 0
    if len(asked) < len(targets):
        hidden_RC, targets = hidden_RC[asked], targets[asked]
    return head_loss(hidden_RC, model.head.weight, targets, dtype=dtype)


def head_loss(hidden_RC: Tensor, weight_VC: Tensor, targets: Tensor, *, dtype: torch.dtype) -> Tensor:
    """The summed cross-entropy of targets (R,) under the logits hidden · weightᵀ, some rows at a time.

    torch's own `F.linear_cross_entropy` does this where everything is float32. In bfloat16 it returns the sum in
    bfloat16, with three digits, and multiplies in emulated precision on a CPU: there rows are cut by hand, their logits
    made float32, and computed again for the gradients.
    """
    rows = max(1, _CHUNK_LOGITS // weight_VC.shape[0])
    if dtype == torch.float32:
        options = None if rows >= len(targets) else nn.LinearCrossEntropyOptions(batch_chunk_size=rows)
        return F.linear_cross_entropy(hidden_RC, weight_VC, targets, reduction="sum", options=options)
    weight_VC = weight_VC.to(dtype)
    total = hidden_RC.new_zeros((), dtype=torch.float32)
    parts = zip(torch.split(hidden_RC.to(dtype), rows), torch.split(targets, rows), strict=True)
    for part_RC, wanted in parts:
        total = total + checkpoint(_part_loss, part_RC, weight_VC, wanted, use_reentrant=False)
    return total


def _part_loss(hidden_RC: Tensor, weight_VC: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(hidden_RC, weight_VC).float(), targets, reduction="sum")


def run_layers_again(layers: nn.ModuleList, x_RC: Tensor, rows: Rows, cache: Cache | None) -> Tensor:
    """A model's `runner` that keeps only what enters each layer, and computes it again for the gradients."""
    for layer in layers:
        x_RC = checkpoint(layer, x_RC, rows, cache, use_reentrant=False)
    return x_RC
