"""The packed matrix that the kernels multiply by.

A weight is scale · code. Each row has one half-precision scale per GROUP of inputs; a code is an int8, or a 4-bit
index into a codebook of sixteen int8 values. Sixteen rows are interleaved, four inputs at a time, so that one
512-bit load brings the same four inputs of sixteen rows and a thread reads its part of the matrix front to back.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from qwen7b.kernels.constants import GROUP, LANES


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PackedMatrix:
    """A matrix (num_rows, num_columns) of 8- or 4-bit codes. Rows are padded to LANES, columns to GROUP, with zeros.

    codes     uint8 (num_rows/16, num_columns/64, 1024 or 512). With 8 bits byte (k/4)·64 + row·4 + k%4 is the code
              of input k; with 4 bits byte (k/8)·64 + row·4 + k%4 holds input k in its low half, k+4 in its high one
    scales    float16 (num_rows/16, num_columns/64, 16)
    codebook  int8 (16) from -127 to 127, with 4 bits; None with 8, where the byte itself is the int8 code
    """

    num_rows: int
    num_columns: int
    codes: Tensor
    scales: Tensor
    codebook: Tensor | None = None

    @property
    def bits(self) -> int:
        return 8 if self.codebook is None else 4

    @property
    def num_bytes(self) -> int:
        """Bytes that one product reads."""
        return self.codes.nbytes + self.scales.nbytes

    @classmethod
    def pack(cls, codes: Tensor, scales: Tensor, *, codebook: Tensor | None = None) -> PackedMatrix:
        """Pack codes (N, K), int8 values or indices into the codebook, and scales (N, ceil(K/GROUP))."""
        num_rows, num_columns = codes.shape
        blocks, groups = num_blocks(num_rows), num_groups(num_columns)
        fill = 0 if codebook is None else int(codebook.to(torch.int16).abs().argmin())
        padded = torch.full((blocks * LANES, groups * GROUP), fill, dtype=torch.uint8)
        padded[:num_rows, :num_columns] = codes.view(torch.uint8)
        tiles = padded.view(blocks, LANES, groups, GROUP // 4, 4).permute(0, 2, 3, 1, 4)  # (…, quad, row, 4)
        if codebook is not None:
            tiles = tiles[:, :, 0::2] | tiles[:, :, 1::2] << 4
        padded_scales = torch.zeros(blocks * LANES, groups, dtype=torch.float16)
        padded_scales[:num_rows] = scales
        return cls(
            num_rows=num_rows,
            num_columns=num_columns,
            codes=tiles.reshape(blocks, groups, -1).contiguous(),
            scales=padded_scales.view(blocks, LANES, groups).transpose(1, 2).contiguous(),
            codebook=codebook,
        )

    @classmethod
    def empty(cls, num_rows: int, num_columns: int, *, codebook: Tensor | None = None) -> PackedMatrix:
        """A matrix with uninitialized codes and scales."""
        codes, scales = packed_shapes(num_rows, num_columns, bits=8 if codebook is None else 4)
        return cls(
            num_rows=num_rows,
            num_columns=num_columns,
            codes=torch.empty(codes, dtype=torch.uint8),
            scales=torch.empty(scales, dtype=torch.float16),
            codebook=codebook,
        )

    def blocks(self, start: int, stop: int) -> PackedMatrix:
        """Blocks `start` to `stop` of LANES rows each, sharing memory."""
        return PackedMatrix(
            num_rows=min(stop * LANES, self.num_rows) - start * LANES,
            num_columns=self.num_columns,
            codes=self.codes[start:stop],
            scales=self.scales[start:stop],
            codebook=self.codebook,
        )

    def dequantize_rows(self, start: int, stop: int) -> Tensor:
        """Rows `start` to `stop` as float32; only their blocks are read."""
        first = start // LANES
        return self.blocks(first, num_blocks(stop)).dequantize()[start - first * LANES :][: stop - start]

    def values(self) -> Tensor:
        """The int8 values of the codes, (blocks, LANES, groups, GROUP)."""
        # Four bytes at once: torch moves and looks up large elements several times as fast as small ones.
        quads = self.codes.view(torch.int32).view(*self.codes.shape[:2], -1, LANES).permute(0, 3, 1, 2).contiguous()
        if self.codebook is not None:
            places, byte = quads.view(torch.uint8).flatten().int(), torch.arange(256)
            low, high = (self.codebook[half].index_select(0, places) for half in (byte & 15, byte >> 4))
            quads = torch.stack((low.view(torch.int32), high.view(torch.int32)), dim=-1).view(*quads.shape[:3], -1)
        return quads.view(torch.int8)

    def dequantize(self) -> Tensor:
        """The matrix as float32 (num_rows, num_columns)."""
        weights = self.values().float().mul_(self.scales.float().transpose(1, 2)[..., None])
        return weights.flatten(2).flatten(0, 1)[: self.num_rows, : self.num_columns]

    def rows(self, indices: Tensor) -> Tensor:
        """Rows `indices` (any shape) as float32 (..., num_columns): the look-up of an embedding."""
        block, lane = indices // LANES, indices % LANES
        tiles = self.codes.view(*self.codes.shape[:2], -1, LANES, 4)[block, :, :, lane]  # (..., groups, quad, 4)
        if self.codebook is None:
            values = tiles.view(torch.int8)
        else:
            values = self.codebook[torch.stack((tiles & 15, tiles >> 4), dim=-2).flatten(-3, -2).int()]
        scales = self.scales[block, :, lane].float()
        return (values.flatten(-2) * scales[..., None]).flatten(-2)[..., : self.num_columns]


def num_blocks(num_rows: int) -> int:
    """How many blocks of LANES rows hold `num_rows`."""
    return -(-num_rows // LANES)


def num_groups(num_columns: int) -> int:
    """How many groups of GROUP columns hold `num_columns`."""
    return -(-num_columns // GROUP)


def packed_shapes(num_rows: int, num_columns: int, *, bits: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shapes of a packed matrix's codes and scales."""
    blocks, groups = num_blocks(num_rows), num_groups(num_columns)
    return (blocks, groups, LANES * GROUP * bits // 8), (blocks, groups, LANES)


def padded_to_groups(x: Tensor) -> Tensor:
    """x (..., K), padded with zeros to whole groups of columns."""
    return F.pad(x, (0, -x.shape[-1] % GROUP))
