"""The cross-entropy under a head whose own weights are not trained: a block of the vocabulary at a time.

As in FlashAttention, a block's logits only change a running maximum, a running sum of exponentials and the running mix
of rows that the gradient is: neither all logits nor the whole weight in floats is ever held, each block is read once,
and the weight gets no gradient. https://arxiv.org/abs/2205.14135
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qwen7b.adapters.adapted_modules import AdaptedHead
from qwen7b.packed.unpacking import UnpackingLinear

_BLOCK_LOGITS = 1 << 22
"""The logits that are held at once."""
_BLOCK_ROWS = 64, 8192
"""The fewest and the most rows of a block."""

ReadRows = Callable[[int, int], Tensor]
"""Reads rows `start` to `stop` of a matrix."""


def frozen_head_losses(hidden_RC: Tensor, head: nn.Module, targets: Tensor, *, dtype: torch.dtype) -> Tensor:
    """-ln p of each target (R,) under a head that is frozen but, in an `AdaptedHead`, for some rows, as float32."""
    token_rows = head.token_rows if isinstance(head, AdaptedHead) else None
    base = head.base if isinstance(head, AdaptedHead) else head
    if isinstance(base, UnpackingLinear):
        read_rows, num_rows = base.matrix.dequantize_rows, base.out_features
    else:
        assert isinstance(base, nn.Linear)
        weight = base.weight.detach()
        read_rows, num_rows = lambda start, stop: weight[start:stop], len(weight)
    ids = targets.new_zeros(0) if token_rows is None else token_rows.ids
    own_rows = hidden_RC.new_zeros(0, hidden_RC.shape[1]) if token_rows is None else token_rows.rows
    losses: Tensor = _FrozenHeadLosses.apply(  # type: ignore[no-untyped-call]
        hidden_RC.to(dtype), own_rows.to(dtype), ids, targets, read_rows, num_rows
    )
    return losses


class _FrozenHeadLosses(torch.autograd.Function):
    """The losses, by way of the gradients that they will have."""

    @staticmethod
    def forward(
        ctx: Any, hidden_RC: Tensor, own_rows: Tensor, ids: Tensor, targets: Tensor, read_rows: ReadRows, num_rows: int
    ) -> Tensor:
        count, dtype = len(hidden_RC), hidden_RC.dtype
        largest = hidden_RC.new_full((count,), -torch.inf, dtype=torch.float32)
        sum_exp, wanted = torch.zeros_like(largest), torch.zeros_like(largest)
        needs_gradient = ctx.needs_input_grad[0]
        mix_RC = torch.zeros_like(hidden_RC, dtype=torch.float32) if needs_gradient else None
        target_rows = torch.zeros_like(hidden_RC) if needs_gradient else None
        fewest, most = _BLOCK_ROWS
        step = min(max(_BLOCK_LOGITS // count, fewest), most)
        for start in range(0, num_rows, step):
            stop = min(start + step, num_rows)
            rows = read_rows(start, stop).to(dtype)
            if (trained := (ids >= start) & (ids < stop)).any():
                rows = rows.clone()
                rows[ids[trained] - start] = own_rows[trained]
            logits = F.linear(hidden_RC, rows).float()
            inside = ((targets >= start) & (targets < stop)).nonzero()[:, 0]
            wanted[inside] = logits[inside, targets[inside] - start]
            new_largest = torch.maximum(largest, logits.amax(dim=1))
            shrink = (largest - new_largest).exp()
            likely = logits.sub_(new_largest[:, None]).exp_()
            sum_exp, largest = sum_exp * shrink + likely.sum(dim=1), new_largest
            if mix_RC is not None and target_rows is not None:
                mix_RC.mul_(shrink[:, None]).add_(likely.to(dtype) @ rows)
                target_rows[inside] = rows[targets[inside] - start]
        log_sum = largest + sum_exp.log()
        if mix_RC is not None and target_rows is not None:
            ctx.gradient_RC = mix_RC.div_(sum_exp[:, None]).sub_(target_rows)
        ctx.save_for_backward(hidden_RC, own_rows, ids, targets, log_sum)
        return log_sum - wanted

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        hidden_RC, own_rows, ids, targets, log_sum = ctx.saved_tensors
        for_hidden = for_rows = None
        if ctx.needs_input_grad[0]:
            for_hidden = (ctx.gradient_RC * gradient[:, None]).to(hidden_RC.dtype)
        if ctx.needs_input_grad[1]:
            likely = (F.linear(hidden_RC, own_rows).float() - log_sum[:, None]).exp()
            likely -= (targets[:, None] == ids).float()
            for_rows = ((likely * gradient[:, None]).t() @ hidden_RC.float()).to(own_rows.dtype)
        return for_hidden, for_rows, None, None, None, None
