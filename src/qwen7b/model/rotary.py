"""Positions: rotary embedding, dynamic NTK and LogN scaling, as pure functions of lengths and positions.

Rotary embedding: Su et al., https://arxiv.org/abs/2104.09864. Dynamic NTK and LogN: the Qwen report,
https://arxiv.org/abs/2309.16609, section 2.3, after https://kexue.fm/archives/8823 (LogN).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def ntk_alpha(length: int, *, trained_length: int) -> float:
    """Stretch of the rotary base for a sequence of `length` tokens: max(2^ceil(log2(n/L) + 1) - 1, 1).

    >>> [ntk_alpha(n, trained_length=2048) for n in (1, 2048, 2049, 4096, 4097, 8192)]
    [1.0, 1.0, 3.0, 3.0, 7.0, 7.0]
    """
    if length < 1:
        return 1.0
    return float(max(2 ** math.ceil(math.log2(length / trained_length) + 1) - 1, 1))


def rotary_tables(
    positions_BT: Tensor, *, alphas: Sequence[float], base: float, head_size: int
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary angles, float32 (B, T, 1, D); `alphas` holds one NTK alpha per sequence.

    Frequency i of D/2 is (base · alpha^(D/(D-2)))^(-2i/D); the second half of D repeats the first.
    """
    exponents = torch.arange(0, head_size, 2, device=positions_BT.device, dtype=torch.float32) / head_size
    bases = [base * alpha ** (head_size / (head_size - 2)) if alpha != 1 else base for alpha in alphas]
    frequencies = torch.stack([1.0 / (stretched**exponents) for stretched in bases])  # (B, D/2)
    angles = positions_BT[:, :, None].float() * frequencies[:, None, :]
    angles = torch.cat((angles, angles), dim=-1)[:, :, None, :]
    return angles.cos(), angles.sin()


def rotate(x: Tensor, *, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair (i, i + D/2) of the heads of x (B, T, heads, D) by its position's angle, in float32."""
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return (x.float() * cos + turned * sin).to(x.dtype)


def logn_scale(positions_BT: Tensor, *, trained_length: int) -> Tensor:
    """Factor (B, T, 1, 1) on the query at position p, counted from 0: log(p+1)/log(L) if p+1 > L, else 1."""
    counts = positions_BT[:, :, None, None].float() + 1
    return (counts.log() / math.log(trained_length)).where(counts > trained_length, 1.0)
