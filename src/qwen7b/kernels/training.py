"""What lies between the products of a training step, with its gradients, in few passes over memory.

The readable twin of each is what PyTorch makes of the model's own forward. All of it takes float32 and bfloat16 on the
CPU, computes in float32 and rounds once, at the end.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from qwen7b.kernels.native import library
from qwen7b.kernels.structures import CArray

DTYPES = (torch.float32, torch.bfloat16)


def _loaded() -> ctypes.CDLL:
    loaded = library()
    assert loaded is not None
    return loaded


class AddAndNormalize(torch.autograd.Function):
    """x + added (R, C), in x's dtype, and its RMSNorm times a float32 weight (C), in another; `added` may be None."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, added: Tensor | None, weight: Tensor, epsilon: float, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        num_rows, size = x.shape
        x, weight = x.contiguous(), weight.contiguous()
        added = None if added is None else added.contiguous()
        total = x if added is None else torch.empty_like(x)
        y, inverse = torch.empty_like(x, dtype=dtype), x.new_empty(num_rows, dtype=torch.float32)
        arrays = map(CArray.of, (x, added, total))
        _loaded().qwen7b_add_and_normalize(
            num_rows, size, epsilon, *arrays, weight.data_ptr(), CArray.of(y), inverse.data_ptr()
        )
        ctx.save_for_backward(total, weight, inverse)
        ctx.added_dtype = None if added is None else added.dtype
        ctx.set_materialize_grads(False)
        return total, y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        for_total, for_y = (None if gradient is None else gradient.contiguous() for gradient in gradients)
        assert for_y is not None  # the sum alone is not what anyone asks for
        total, weight, inverse = ctx.saved_tensors
        for_x = torch.empty_like(total)
        is_other = ctx.added_dtype not in (None, total.dtype)
        for_added = torch.empty_like(total, dtype=ctx.added_dtype) if is_other else None
        for_weight = torch.empty_like(weight) if ctx.needs_input_grad[2] else None
        _loaded().qwen7b_add_and_normalize_backward(
            *total.shape,
            CArray.of(total),
            weight.data_ptr(),
            inverse.data_ptr(),
            *map(CArray.of, (for_y, for_total, for_x, for_added)),
            None if for_weight is None else for_weight.data_ptr(),
        )
        if ctx.added_dtype is not None and for_added is None:
            for_added = for_x
        return for_x, for_added, for_weight, None, None


class SplitIntoHeads(torch.autograd.Function):
    """Query (R, H, D), key and value (R, K, D) of joined rows (R, H + 2K, D), query and key rotated.

    In memory all rows of a head lie together.
    """

    @staticmethod
    def forward(ctx: Any, joined: Tensor, cos: Tensor, sin: Tensor, sizes: tuple[int, int, int]) -> tuple[Tensor, ...]:
        joined = joined.contiguous()
        num_rows, _, head_size = joined.shape
        parts = tuple(joined.new_empty(size, num_rows, head_size).transpose(0, 1) for size in sizes)
        _rotate_parts(joined, parts, cos, sin, turn=1)
        ctx.save_for_backward(cos, sin)
        return parts

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        parts = tuple(one if one.stride(-1) == 1 else one.contiguous() for one in gradients)
        num_rows, _, head_size = parts[0].shape
        for_joined = parts[0].new_empty(num_rows, sum(part.shape[1] for part in parts), head_size)
        _rotate_parts(for_joined, parts, *ctx.saved_tensors, turn=-1)
        return for_joined, None, None, None


def _rotate_parts(joined: Tensor, parts: tuple[Tensor, ...], cos: Tensor, sin: Tensor, *, turn: int) -> None:
    """Rotate query and key from their place among the joined rows to their parts, or with turn -1 back; copy values."""
    first = 0
    for number, part in enumerate(parts):
        num_rows, num_heads, head_size = part.shape
        place = joined[:, first : first + num_heads]
        first += num_heads
        tables = (None, None) if number == 2 else (cos.data_ptr(), sin.data_ptr())
        source, target = (place, part) if turn == 1 else (part, place)
        _loaded().qwen7b_rotate_heads(
            num_rows,
            num_heads,
            head_size,
            *tables,
            turn,
            CArray.of(source),
            *source.stride()[:2],
            CArray.of(target),
            *target.stride()[:2],
        )


class Gate(torch.autograd.Function):
    """up · silu(gate)."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        gate, up = gate.contiguous(), up.contiguous()
        y = torch.empty_like(gate)
        _loaded().qwen7b_gate(y.numel(), *map(CArray.of, (gate, up, y)))
        ctx.save_for_backward(gate, up)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (gate, up), for_y = ctx.saved_tensors, gradients[0].contiguous()
        for_gate, for_up = torch.empty_like(gate), torch.empty_like(up)
        _loaded().qwen7b_gate_backward(gate.numel(), *map(CArray.of, (gate, up, for_y, for_gate, for_up)))
        return for_gate, for_up


class CausalAttention(torch.autograd.Function):
    """Attention of queries (B, T, D) to keys and values up to their own positions; scores are float32.

    It keeps the probabilities in the dtype of its inputs, so T should be small.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scores = torch.bmm(query.float(), key.float().transpose(1, 2))
        likely = torch.empty_like(scores, dtype=query.dtype)
        _loaded().qwen7b_causal_softmax(*_softmax_of(query), CArray.of(scores), CArray.of(likely))
        ctx.save_for_backward(query, key, value, likely)
        return torch.bmm(likely, value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        (for_mixed,), (query, key, value, likely) = gradients, ctx.saved_tensors
        for_scores = torch.bmm(for_mixed, value.transpose(1, 2))
        _loaded().qwen7b_causal_softmax_backward(*_softmax_of(query), CArray.of(likely), CArray.of(for_scores))
        for_value = torch.bmm(likely.transpose(1, 2), for_mixed)
        return torch.bmm(for_scores, key), torch.bmm(for_scores.transpose(1, 2), query), for_value


def _softmax_of(query: Tensor) -> tuple[int, int, float]:
    """The rows and columns of scores, and their scale."""
    batch, length, size = query.shape
    return batch * length, length, size**-0.5


def cross_entropy_in_place(logits: Tensor, targets: Tensor) -> Tensor:
    """-ln p of each target (R,) under its logits (R, V), as float32; the logits become their gradients."""
    assert logits.is_contiguous() and targets.is_contiguous() and targets.dtype == torch.int64
    losses = logits.new_empty(len(targets), dtype=torch.float32)
    _loaded().qwen7b_cross_entropy(*logits.shape, CArray.of(logits), targets.data_ptr(), losses.data_ptr())
    return losses
