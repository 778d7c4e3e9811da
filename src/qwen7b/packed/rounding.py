"""Float rows in, codes and scales out: every weight becomes the nearest of the values that its group can name."""

from __future__ import annotations

import torch
from torch import Tensor

from qwen7b.kernels import GROUP
from qwen7b.packed.formats import Codebook

_STEPS = 16
"""Places between two int8 values that the table of nearest codes tells apart."""
_REACH = 128 * _STEPS
# Factors of the scale that makes the largest weight the largest code.
_CANDIDATES = (1.1, 1.0, 0.95, 0.9, 0.85, 0.8, 0.72)


class CodebookRounder:
    """Rounds to a codebook's values. A scale may be negative, as a codebook need not be symmetric."""

    def __init__(self, codebook: Codebook) -> None:
        self.codebook = torch.tensor(codebook, dtype=torch.int8)
        values = self.codebook.float()
        places = torch.arange(-_REACH, _REACH) / _STEPS
        nearest = torch.bucketize(places, (values[1:] + values[:-1]) / 2)
        self._indices = nearest.to(torch.uint8)
        self._values = values[nearest]
        self._is_symmetric = codebook[0] == -codebook[-1]

    def round(self, rows: Tensor, scales: Tensor) -> Tensor:
        """Indices uint8 (N, K) into the codebook of float32 rows (N, K), whose groups have `scales` (N, K/GROUP)."""
        places = self._places(_groups(rows), _inverse(scales.float()))
        return self._indices.index_select(0, places.flatten()).view(rows.shape)

    def round_column(self, weights: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
        """Indices uint8 (N) and the values (N) they stand for, of one input's weights (N) with `scales` (N)."""
        scales = scales.float()
        places = self._places(weights[:, None], _inverse(scales))[:, 0]
        return self._indices.index_select(0, places), self._values.index_select(0, places) * scales

    def search_scales(self, rows: Tensor, importance: Tensor) -> tuple[Tensor, Tensor]:
        """Scales float16 (N, K/GROUP) of least squared error, and that error summed over each group.

        `importance` (K) or (N, K) is what a unit of squared error costs.
        """
        groups, importance = _groups(rows), _groups(importance.view(-1, rows.shape[1]))
        weighted = groups * importance
        largest = largest_scales(rows)
        best_scales, best_gains = largest.clone(), torch.full_like(largest, -1.0)
        for sign in (1.0,) if self._is_symmetric else (1.0, -1.0):
            for factor in _CANDIDATES:
                places = self._places(groups, _inverse(largest * (sign * factor)))
                values = self._values.index_select(0, places.flatten()).view(groups.shape)
                fit = torch.einsum("ngk,ngk->ng", weighted, values)
                norm = values.square_().mul_(importance).sum(-1).clamp_(min=1e-30)
                gains = fit.square() / norm
                better = gains > best_gains
                best_scales = torch.where(better, fit / norm, best_scales)
                best_gains = torch.where(better, gains, best_gains)
        errors = torch.einsum("ngk,ngk->ng", weighted, groups) - best_gains
        return best_scales.half(), errors

    @staticmethod
    def _places(groups: Tensor, inverse: Tensor) -> Tensor:
        """Where the weights lie in the tables."""
        places = groups * (inverse * _STEPS)[..., None]
        return places.add_(_REACH + 0.5).clamp_(0, 2 * _REACH - 1).int()


def own_importance(rows: Tensor) -> Tensor:
    """What errors cost (N, K) as far as the weights themselves tell: more where a weight or its row is large."""
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
