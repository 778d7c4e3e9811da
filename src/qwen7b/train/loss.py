"""The loss of a micro-batch: the cross-entropy of its targets, without ever holding all their logits."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from qwen7b.kernels.native import library
from qwen7b.kernels.training import DTYPES, cross_entropy_in_place
from qwen7b.model import Cache, Transformer
from qwen7b.model.rows import Rows
from qwen7b.train.micro_batch import NO_TARGET, MicroBatch
from qwen7b.train.vocabulary_loss import frozen_head_losses

_CHUNK_LOGITS = 1 << 22
"""The logits that are held at once."""
Reduction = Literal["sum", "none"]


def summed_loss(model: Transformer, batch: MicroBatch, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """The sum of -ln p over the targets of a micro-batch, as float32; products are computed in `dtype`.

    A micro-batch without a target has the loss 0 and gradients of 0.
    """
    hidden_RC, targets = _asked(model, batch, dtype=dtype)
    return _losses(model.head, hidden_RC, targets, dtype=dtype, reduction="sum")


def target_losses(model: Transformer, batch: MicroBatch, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """-ln p of each target of a micro-batch in order, as float32; products are computed in `dtype`."""
    hidden_RC, targets = _asked(model, batch, dtype=dtype)
    return _losses(model.head, hidden_RC, targets, dtype=dtype, reduction="none")


def _asked(model: Transformer, batch: MicroBatch, *, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The hidden states that the head would read for targets, and these; the model's readable forward computes them."""
    with torch.autocast(model.device.type, dtype=dtype, enabled=dtype != torch.float32):
        ((_, hidden_RC),) = model.passes(batch.sequences)
    targets = batch.targets.to(hidden_RC.device)
    asked = (targets != NO_TARGET).nonzero()[:, 0]
    if len(asked) == len(targets):
        return hidden_RC, targets
    return hidden_RC[asked], targets[asked]


def _losses(head: nn.Module, hidden_RC: Tensor, targets: Tensor, *, dtype: torch.dtype, reduction: Reduction) -> Tensor:
    """The cross-entropy of targets (R,), summed or for each target; without one gradients are 0."""
    if len(targets) == 0:
        nothing_RC = hidden_RC.float()
        return nothing_RC.sum() if reduction == "sum" else nothing_RC.sum(dim=1)
    if isinstance(head, nn.Linear):
        return head_loss(hidden_RC, head.weight, targets, dtype=dtype, reduction=reduction)
    losses = frozen_head_losses(hidden_RC, head, targets, dtype=dtype)
    return losses.sum() if reduction == "sum" else losses


def head_loss(
    hidden_RC: Tensor, weight_VC: Tensor, targets: Tensor, *, dtype: torch.dtype, reduction: Reduction = "sum"
) -> Tensor:
    """The cross-entropy of targets (R,) under the logits hidden · weightᵀ, some rows at a time.

    On a CPU the kernels make of the logits, while they are at hand, the gradients of a sum. What follows is elsewhere:
    torch's own `F.linear_cross_entropy` does this where everything is float32. In bfloat16 it returns the sum in
    bfloat16, with three digits, and multiplies in emulated precision on a CPU: there rows are cut by hand, their logits
    made float32, and computed again for the gradients.
    """
    rows = max(1, _CHUNK_LOGITS // weight_VC.shape[0])
    if (
        reduction == "sum"
        and torch.is_grad_enabled()
        and hidden_RC.device.type == "cpu"
        and dtype in DTYPES
        and library() is not None
    ):
        total: Tensor = _SumOfLosses.apply(hidden_RC.to(dtype), weight_VC, targets, rows)  # type: ignore[no-untyped-call]
        return total
    if dtype == torch.float32:
        options = None if rows >= len(targets) else nn.LinearCrossEntropyOptions(batch_chunk_size=rows)
        return F.linear_cross_entropy(hidden_RC, weight_VC, targets, reduction=reduction, options=options)
    weight_VC = weight_VC.to(dtype)
    parts = zip(torch.split(hidden_RC.to(dtype), rows), torch.split(targets, rows), strict=True)
    losses = [
        checkpoint(_part_loss, part_RC, weight_VC, wanted, reduction, use_reentrant=False) for part_RC, wanted in parts
    ]
    return torch.stack(losses).sum() if reduction == "sum" else torch.cat(losses)


def _part_loss(hidden_RC: Tensor, weight_VC: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    return F.cross_entropy(F.linear(hidden_RC, weight_VC).float(), targets, reduction=reduction)


class _SumOfLosses(torch.autograd.Function):
    """The sum of losses, by way of the gradients that it will have: each logit is computed once."""

    @staticmethod
    def forward(ctx: Any, hidden_RC: Tensor, weight_VC: Tensor, targets: Tensor, rows: int) -> Tensor:
        needs_hidden, needs_weight, *_ = ctx.needs_input_grad
        rounded_VC = weight_VC.to(hidden_RC.dtype)
        ctx.for_hidden = torch.empty_like(hidden_RC) if needs_hidden else None
        ctx.for_weight = None
        total = hidden_RC.new_zeros((), dtype=torch.float32)
        for start in range(0, len(targets), rows):
            part_RC = hidden_RC[start : start + rows]
            logits = part_RC @ rounded_VC.t()
            total += cross_entropy_in_place(logits, targets[start : start + rows]).sum()
            if ctx.for_hidden is not None:
                torch.mm(logits, rounded_VC, out=ctx.for_hidden[start : start + rows])
            if needs_weight:
                of_part = (logits.t() @ part_RC).to(weight_VC.dtype)
                ctx.for_weight = of_part if ctx.for_weight is None else ctx.for_weight.add_(of_part)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        of_inputs = (None if one is None else one * gradient for one in (ctx.for_hidden, ctx.for_weight))
        return (*of_inputs, None, None)


def run_layers_again(layers: nn.ModuleList, x_RC: Tensor, rows: Rows, cache: Cache | None) -> Tensor:
    """A model's `runner` that keeps only what enters each layer, and computes it again for the gradients."""
    for layer in layers:
        x_RC = checkpoint(layer, x_RC, rows, cache, use_reentrant=False)
    return x_RC
