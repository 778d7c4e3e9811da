"""GPTQ: each input's rounding error is made up for by the inputs that are rounded after it.

Frantar et al., https://arxiv.org/abs/2210.17323
"""

from __future__ import annotations

import torch
from torch import Tensor

from qwen7b.kernels import GROUP
from qwen7b.packed.rounding import CodebookRounder

_DAMPING = 0.1
"""This share of the mean of the Hessian's diagonal is added to it. That is more than the paper's 1 %: the text is
short, and what is true of it alone should not count."""


class Compensation:
    """What the rounding of each input does to the inputs after it; the same for all rows of a matrix.

    Groups of inputs are rounded in the order of their energy, and inputs in that order within a group.
    """

    def __init__(self, inputs: Tensor) -> None:
        """Measure inputs (samples, K) such as the matrix gets; K is a multiple of GROUP."""
        self.order = _order(inputs.square().sum(0))
        inputs = inputs[:, self.order]
        hessian = inputs.t() @ inputs
        diagonal = hessian.diagonal()
        diagonal += _DAMPING * diagonal.mean() + torch.finfo(torch.float32).tiny
        # Of a wide matrix each of these takes half a gigabyte or more: one goes as the next one comes.
        hessian = torch.linalg.cholesky(hessian)
        hessian = torch.cholesky_inverse(hessian)
        self.factor: Tensor = torch.linalg.cholesky(hessian, upper=True)
        """The upper triangular U with UᵀU the inverse of the damped sum of xxᵀ over inputs x."""
        self.importance = 1 / self.factor.diagonal().square()
        """What a unit of squared error costs at each input, once the inputs after it have made up for it."""

    def round(self, rows: Tensor, rounder: CodebookRounder) -> tuple[Tensor, Tensor]:
        """Indices uint8 (N, K) into the rounder's codebook and scales float16 (N, K/GROUP) of float32 rows (N, K).

        Each group's scales are searched when its turn comes.
        """
        num_rows, num_columns = rows.shape
        order, factor = self.order, self.factor
        left = rows.t()[order].contiguous()  # (K, N): an input's weights side by side, with earlier errors made up for
        codes = torch.empty(num_columns, num_rows, dtype=torch.uint8)
        scales = torch.empty(num_rows, num_columns // GROUP, dtype=torch.float16)
        for start in range(0, num_columns, GROUP):
            stop = start + GROUP
            block, own = left[start:stop], factor[start:stop, start:stop]
            found = rounder.search_scales(block.t().contiguous(), self.importance[start:stop])[0][:, 0]
            scales[:, order[start] // GROUP] = found
            errors = torch.empty_like(block)
            for index in range(GROUP):
                codes[order[start + index]], values = rounder.round_column(block[index], found)
                errors[index] = (block[index] - values) / own[index, index]
                block[index + 1 :].addr_(own[index, index + 1 :], errors[index], alpha=-1)
            left[stop:].addmm_(factor[start:stop, stop:].t(), errors, alpha=-1)
        return codes.t().contiguous(), scales


def _order(weights: Tensor) -> Tensor:
    """All inputs, group after group: the heaviest group first, and in a group the heaviest input."""
    groups = weights.reshape(-1, GROUP)
    by_group = groups.sum(1).argsort(descending=True, stable=True)
    within = groups.argsort(dim=1, descending=True, stable=True)
    return (within + torch.arange(0, len(weights), GROUP)[:, None])[by_group].flatten()
