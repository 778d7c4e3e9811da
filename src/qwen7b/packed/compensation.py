"""GPTQ: the inputs that are rounded later compensate for the rounding error of the earlier ones.

Frantar et al., https://arxiv.org/abs/2210.17323
"""

from __future__ import annotations

import torch
from torch import Tensor

from qwen7b.kernels import GROUP
from qwen7b.packed.rounding import CodebookRounder

_DAMPING = 0.1
"""The share of the mean of the Hessian's diagonal that is added to the diagonal. It is more than the paper's 1 %,
because the calibration text is short and its peculiarities should not count."""


class Compensation:
    """How later inputs compensate for the rounding of earlier ones; it is the same for all rows of a matrix.

    Groups of inputs are rounded in the order of their energy, and so are the inputs within a group.
    """

    def __init__(self, inputs: Tensor) -> None:
        """Take inputs (samples, K) that the matrix was given; K is a multiple of GROUP."""
        self.order = _rounding_order(inputs.square().sum(0))
        inputs = inputs[:, self.order]
        hessian = inputs.t() @ inputs
        diagonal = hessian.diagonal()
        diagonal += _DAMPING * diagonal.mean() + torch.finfo(torch.float32).tiny
        # For a wide matrix each of these takes half a gigabyte or more, so each replaces the one before.
        hessian = torch.linalg.cholesky(hessian)
        hessian = torch.cholesky_inverse(hessian)
        self.factor: Tensor = torch.linalg.cholesky(hessian, upper=True)
        """The upper triangular U with UᵀU the inverse of the damped sum of xxᵀ over inputs x."""
        self.importance = 1 / self.factor.diagonal().square()
        """The cost of a unit of squared error at each input, after the later inputs have compensated for it."""

    def round(self, rows: Tensor, rounder: CodebookRounder) -> tuple[Tensor, Tensor]:
        """Indices uint8 (N, K) into the rounder's codebook and scales float16 (N, K/GROUP) of float32 rows (N, K).

        Each group's scales are searched when its turn comes.
        """
        num_rows, num_columns = rows.shape
        order, factor = self.order, self.factor
        remaining = rows.t()[order].contiguous()  # (K, N), with earlier errors compensated
        codes = torch.empty(num_columns, num_rows, dtype=torch.uint8)
        scales = torch.empty(num_rows, num_columns // GROUP, dtype=torch.float16)
        for start in range(0, num_columns, GROUP):
            stop = start + GROUP
            block, block_factor = remaining[start:stop], factor[start:stop, start:stop]
            group_scales = rounder.search_scales(block.t().contiguous(), self.importance[start:stop])[0][:, 0]
            scales[:, order[start] // GROUP] = group_scales
            errors = torch.empty_like(block)
            for index in range(GROUP):
                codes[order[start + index]], values = rounder.round_column(block[index], group_scales)
                errors[index] = (block[index] - values) / block_factor[index, index]
                block[index + 1 :].addr_(block_factor[index, index + 1 :], errors[index], alpha=-1)
            remaining[stop:].addmm_(factor[start:stop, stop:].t(), errors, alpha=-1)
        return codes.t().contiguous(), scales


def _rounding_order(weights: Tensor) -> Tensor:
    """All inputs, group after group: the group with the largest sum first, and in a group the largest input."""
    groups = weights.reshape(-1, GROUP)
    group_order = groups.sum(1).argsort(descending=True, stable=True)
    within = groups.argsort(dim=1, descending=True, stable=True)
    return (within + torch.arange(0, len(weights), GROUP)[:, None])[group_order].flatten()
