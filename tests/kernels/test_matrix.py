"""The packed layout: what goes in comes out, and its bytes lie where the kernels look for them."""

from __future__ import annotations

import math

import pytest
import torch

from qwen7b.kernels import PackedMatrix
from qwen7b.kernels.matrix import packed_shapes, padded_to_groups

SHAPES = [(16, 64), (40, 100), (1, 1), (72, 200)]


def packed(num_rows: int, num_columns: int, bits: int) -> tuple[PackedMatrix, torch.Tensor]:
    """A matrix and what it stands for."""
    scales = torch.rand(num_rows, -(-num_columns // 64)).half()
    spread = scales.float().repeat_interleave(64, dim=1)[:, :num_columns]
    if bits == 8:
        codes = torch.randint(-127, 128, (num_rows, num_columns), dtype=torch.int8)
        return PackedMatrix.pack(codes, scales), codes * spread
    codebook = torch.randperm(255)[:16].sub(127).to(torch.int8)
    indices = torch.randint(0, 16, (num_rows, num_columns), dtype=torch.uint8)
    return PackedMatrix.pack(indices, scales, codebook=codebook), codebook[indices.int()] * spread


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_unpacking_gives_back_what_was_packed(shape: tuple[int, int], bits: int) -> None:
    matrix, weights = packed(*shape, bits)
    assert torch.equal(matrix.dequantize(), weights)
    rows = torch.randint(0, shape[0], (2, 3))
    assert torch.equal(matrix.rows(rows), weights[rows])
    assert matrix.bits == bits


@pytest.mark.parametrize("bits", [8, 4])
def test_blocks_share_memory(bits: int) -> None:
    matrix, weights = packed(72, 200, bits)
    part = matrix.blocks(1, 5)
    assert torch.equal(part.dequantize(), weights[16:72])
    assert part.codes.data_ptr() == matrix.codes[1].data_ptr()


@pytest.mark.parametrize("bits", [8, 4])
def test_some_rows_are_those_of_the_whole(bits: int) -> None:
    matrix, weights = packed(72, 200, bits)
    for start, stop in ((0, 72), (5, 6), (15, 17), (16, 48), (40, 72)):
        assert torch.equal(matrix.dequantize_rows(start, stop), weights[start:stop])


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_shapes_are_known_before_there_is_a_matrix(shape: tuple[int, int], bits: int) -> None:
    matrix, _ = packed(*shape, bits)
    assert packed_shapes(*shape, bits=bits) == (tuple(matrix.codes.shape), tuple(matrix.scales.shape))


def test_the_bytes_of_a_large_matrix() -> None:
    codes, scales = packed_shapes(4096, 4096, bits=4)
    assert math.prod(codes) + 2 * math.prod(scales) == 4096 * 4096 * 17 // 32


def test_columns_are_padded_to_whole_groups() -> None:
    x = torch.ones(3, 65)
    assert padded_to_groups(x).shape == (3, 128) and float(padded_to_groups(x).sum()) == 3 * 65
    assert torch.equal(padded_to_groups(x[:, :64]), x[:, :64])


def test_bytes_lie_as_the_kernels_read_them() -> None:
    codes = torch.arange(-64, 64, dtype=torch.int8).repeat(16, 1)
    codes[5, 6] = 99
    matrix = PackedMatrix.pack(codes, torch.ones(16, 2).half())
    assert matrix.codes[0, 0, 6 // 4 * 64 + 5 * 4 + 6 % 4] == 99
    indices = torch.zeros(16, 128, dtype=torch.uint8)
    indices[5, 6], indices[3, 64 + 1] = 9, 7
    matrix = PackedMatrix.pack(indices, torch.ones(16, 2).half(), codebook=torch.arange(16, dtype=torch.int8))
    assert matrix.codes[0, 0, 5 * 4 + 2] == 9 << 4
    assert matrix.codes[0, 1, 3 * 4 + 1] == 7
