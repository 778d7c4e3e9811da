"""How keys are prepared for int8.

Qwen's keys have large biases at a few rotary pairs. If these shared a scale with the other pairs, the others would lose
precision: 3 % of perplexity in a model of half a billion weights. So queries are multiplied and keys divided by a
factor for each pair, which changes neither attention nor rotation, as both numbers of a pair have the same factor; and
the few pairs that are largest even then stay in float16. After https://arxiv.org/abs/2211.10438, which balances inputs
and weights in this way, and https://arxiv.org/abs/2208.07339, which keeps outliers apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qwen7b.kernels.constants import NUM_WIDE_AXES


def pair_sizes(weight: Tensor, bias: Tensor | None, *, norm: Tensor, head_size: int) -> Tensor:
    """The size (heads, D/2) of each rotary pair of each head, for normalized inputs whose elements have size 1.

    `weight` (heads · D, C) and `bias` belong to the projection, `norm` (C) is the weight of the norm before it.
    """
    squares = (weight * norm).square().sum(dim=1)
    if bias is not None:
        squares += bias.square()
    return squares.view(-1, 2, head_size // 2).sum(dim=1).sqrt()


@dataclass(frozen=True, slots=True)
class KeyBalance:
    """The factors and float16 axes of every layer.

    factors    float32 (layer, K, D), powers of two, so that they cost no precision themselves
    wide_axes  int32 (layer, K, NUM_WIDE_AXES)
    """

    factors: Tensor
    wide_axes: Tensor

    @classmethod
    def from_pair_sizes(cls, sizes: Sequence[Tensor]) -> KeyBalance:
        """Choose the balance for the sizes (2, K, D/2) of each layer's pairs: queries, then keys."""
        query, key = torch.stack(list(sizes)).float().clamp(min=1e-6).unbind(dim=1)  # (layer, K, D/2)
        factors = torch.exp2((key / query).log2().div(2).round())
        half = factors.shape[-1]
        pairs = (key / factors).topk(NUM_WIDE_AXES // 2, dim=-1).indices
        return cls(factors.repeat(1, 1, 2), torch.cat((pairs, pairs + half), dim=-1).int())

    def to(self, device: torch.device) -> KeyBalance:
        return KeyBalance(self.factors.to(device), self.wide_axes.to(device))
