"""Float rows in, codes and scales out: every weight becomes the nearest value that its group can represent."""

from __future__ import annotations

import torch
from torch import Tensor

from qwen7b.kernels import GROUP
from qwen7b.packed.formats import Codebook

_STEPS_PER_UNIT = 16
"""How finely the table of nearest codes divides the distance between two int8 values."""
_TABLE_HALF = 128 * _STEPS_PER_UNIT
# Candidates for a group's scale, as factors of the scale that makes the largest weight the largest code.
_SCALE_FACTORS = (1.1, 1.0, 0.95, 0.9, 0.85, 0.8, 0.72)


class CodebookRounder:
    """Rounds to a codebook's values. A scale may be negative, as a codebook need not be symmetric."""

    def __init__(self, codebook: Codebook) -> None:
        self.codebook = torch.tensor(codebook, dtype=torch.int8)
        values = self.codebook.float()
        indices = torch.arange(-_TABLE_HALF, _TABLE_HALF) / _STEPS_PER_UNIT
        nearest = torch.bucketize(indices, (values[1:] + values[:-1]) / 2)
        self._code_table = nearest.to(torch.uint8)
        self._value_table = values[nearest]
        self._is_symmetric = codebook[0] == -codebook[-1]

    def round(self, rows: Tensor, scales: Tensor) -> Tensor:
        """Indices uint8 (N, K) into the codebook of float32 rows (N, K), whose groups have `scales` (N, K/GROUP)."""
        indices = self._table_indices(_groups(rows), _inverse(scales.float()))
        return self._code_table.index_select(0, indices.flatten()).view(rows.shape)

    def round_column(self, weights: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
        """Indices uint8 (N) and the values (N) they stand for, of one input's weights (N) with `scales` (N)."""
        scales = scales.float()
        indices = self._table_indices(weights[:, None], _inverse(scales))[:, 0]
        return self._code_table.index_select(0, indices), self._value_table.index_select(0, indices) * scales

    def search_scales(self, rows: Tensor, importance: Tensor) -> tuple[Tensor, Tensor]:
        """Scales float16 (N, K/GROUP) of least squared error, and that error summed over each group.

        `importance` (K) or (N, K) is the cost of a unit of squared error.
        """
        groups, importance = _groups(rows), _groups(importance.view(-1, rows.shape[1]))
        weighted = groups * importance
        largest = largest_scales(rows)
        best_scales, best_gains = largest.clone(), torch.full_like(largest, -1.0)
        for sign in (1.0,) if self._is_symmetric else (1.0, -1.0):
            for factor in _SCALE_FACTORS:
                indices = self._table_indices(groups, _inverse(largest * (sign * factor)))
                values = self._value_table.index_select(0, indices.flatten()).view(groups.shape)
                dot = torch.einsum("ngk,ngk->ng", weighted, values)
                squared_norm = values.square_().mul_(importance).sum(-1).clamp_(min=1e-30)
                gains = dot.square() / squared_norm
                better = gains > best_gains
                best_scales = torch.where(better, dot / squared_norm, best_scales)
                best_gains = torch.where(better, gains, best_gains)
        errors = torch.einsum("ngk,ngk->ng", weighted, groups) - best_gains
        return best_scales.half(), errors

    @staticmethod
    def _table_indices(groups: Tensor, inverse: Tensor) -> Tensor:
        """The indices of the weights in the tables."""
        indices = groups * (inverse * _STEPS_PER_UNIT)[..., None]
        return indices.add_(_TABLE_HALF + 0.5).clamp_(0, 2 * _TABLE_HALF - 1).int()


def own_importance(rows: Tensor) -> Tensor:
    """The cost of errors (N, K) by the weights alone, without data: higher where a weight or its row is large."""
    squares = rows.square()
    return squares + squares.mean(1, keepdim=True)


def largest_scales(rows: Tensor) -> Tensor:
    """Float32 scales (N, K/GROUP) that make each group's largest weight 127."""
    return _groups(rows).abs().amax(-1) / 127


def round_to_int8(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Codes int8 (N, K) and scales float16 (N, K/GROUP) of float32 rows (N, K)."""
    scales = largest_scales(rows).half()
    codes = _groups(rows) * _inverse(scales.float())[..., None]
    return codes.round_().clamp_(-127, 127).to(torch.int8).flatten(1), scales


def _groups(rows: Tensor) -> Tensor:
    return rows.reshape(len(rows), -1, GROUP)


def _inverse(scales: Tensor) -> Tensor:
    return torch.where(scales != 0, 1 / scales, 0.0)
