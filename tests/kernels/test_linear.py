"""Native products agree with their readable twin, on every instruction set that this processor has."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen7b import kernels
from qwen7b.errors import SettingError
from qwen7b.kernels.native import library
from qwen7b.kernels.structures import CMatrix
from random_packed import random_matrix

if kernels.instruction_set() is None:
    pytest.skip("needs the native library, which needs a C++ compiler to be built", allow_module_level=True)


@pytest.fixture(params=kernels.available_instruction_sets())
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    best = kernels.instruction_set()
    assert best is not None
    kernels.use_instruction_set(request.param)
    yield request.param
    kernels.use_instruction_set(best)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("shape", [(16, 64), (40, 100), (176, 896)], ids=str)
def test_native_equals_reference(instruction_set: str, shape: tuple[int, int], bits: int) -> None:
    matrix, bias = random_matrix(*shape, bits=bits), torch.randn(shape[0])
    x = torch.randn(70, shape[1])
    expected = kernels.linear_reference(x, matrix) + bias
    for count in (40, 70):  # from 64 rows on weights are unpacked once for all
        assert torch.allclose(kernels.linear(x[:count], matrix, bias), expected[:count], rtol=0, atol=1e-5)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_row_does_not_depend_on_the_others(instruction_set: str, bits: int) -> None:
    matrix, x = random_matrix(72, 200, bits=bits), torch.randn(71, 200)
    together = kernels.linear(x, matrix)
    for count in (1, 2, 7, 8, 9, 23, 24, 25, 36, *range(63, 71)):
        assert torch.equal(kernels.linear(x[:count], matrix), together[:count])


@pytest.mark.parametrize("bits", [8, 4])
def test_a_layout_of_the_sets_own_changes_nothing(instruction_set: str, bits: int) -> None:
    matrix, x, loaded = random_matrix(72, 200, bits=bits), torch.randn(70, 200), library()
    assert loaded is not None
    expected = kernels.linear(x, matrix)
    repacked = kernels.repack(matrix)
    if repacked is not None:
        matrix.codes.fill_(0)  # which the set needs no more
    for count in (1, 5, 70):
        y = torch.empty(count, 72)
        view = CMatrix.of(matrix, repacked=repacked)
        loaded.qwen7b_linear(ctypes.byref(view), x.data_ptr(), count, y.data_ptr())
        assert torch.equal(y, expected[:count])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf], ids=str)
@pytest.mark.parametrize("bits", [8, 4])
def test_what_is_no_number_stays_none(instruction_set: str, bits: int, value: float) -> None:
    matrix, x = random_matrix(72, 200, bits=bits), torch.randn(80, 200)
    expected = kernels.linear(x, matrix)
    for place in range(64):
        x[place, 64 + place if place else 199] = value  # each place of a whole group, and one of a part
    products = kernels.linear(x, matrix)
    assert products[:64].isnan().all() and kernels.linear_reference(x, matrix)[:64].isnan().all()
    assert torch.equal(products[64:], expected[64:])
    assert kernels.linear(x[5:6], matrix).isnan().all()


def test_another_number_of_columns_is_refused() -> None:
    matrix = random_matrix(32, 64, bits=8)
    for columns in (10, 128, 4096):
        with pytest.raises(ValueError, match=f"the matrix's 64 columns, found {columns}"):
            kernels.linear(torch.randn(2, columns), matrix)


def test_threads_change_nothing() -> None:
    matrix, x = random_matrix(1000, 320, bits=4), torch.randn(3, 320)
    before = kernels.num_threads()
    assert before is not None
    results = []
    for count in (1, 2, 7):
        kernels.set_num_threads(count)
        results.append(kernels.linear(x, matrix))
    kernels.set_num_threads(before)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@given(st.integers(1, 70), st.integers(1, 200), st.integers(1, 30), st.sampled_from([4, 8]), st.floats(-6, 6))
@settings(max_examples=30, deadline=None)
def test_any_shape_and_size_of_numbers(num_rows: int, num_columns: int, count: int, bits: int, exponent: float) -> None:
    matrix = random_matrix(num_rows, num_columns, bits=bits)
    x = torch.randn(count, num_columns) * 10**exponent
    actual, expected = kernels.linear(x, matrix), kernels.linear_reference(x, matrix)
    assert torch.allclose(actual, expected, rtol=1e-4, atol=float(expected.abs().max()) * 1e-5)


def test_zeros_and_outliers() -> None:
    matrix = random_matrix(32, 128, bits=4)
    assert not kernels.linear(torch.zeros(2, 128), matrix).any()
    next_to_zero = torch.full((1, 128), 1e-39)
    assert not kernels.linear(next_to_zero, matrix).any()
    assert not kernels.linear_reference(next_to_zero, matrix).any()
    x = torch.randn(1, 128)
    x[0, 7] = 1e4  # costs its own group of 64 its precision, and no other
    weights = matrix.dequantize()
    error = kernels.linear(x, matrix) - x @ weights.T
    assert error.abs().max() < 1e4 / 127 * weights[:, :64].abs().sum(dim=1).max()


def test_the_operator_is_registered_with_torch() -> None:
    matrix = random_matrix(32, 128, bits=4)
    arguments = (torch.randn(2, 128), 32, matrix.codes, matrix.scales, matrix.codebook, None)
    torch.library.opcheck(torch.ops.qwen7b.linear.default, arguments)


@pytest.mark.parametrize("count", [0, -1, 257, 2.5, True])
def test_threads_out_of_range(count: object) -> None:
    with pytest.raises(SettingError, match="threads"):
        kernels.set_num_threads(count)  # type: ignore[arg-type]


def test_the_best_instruction_set_is_in_use_and_the_plain_one_is_always_there() -> None:
    available = kernels.available_instruction_sets()
    assert kernels.instruction_set() == available[0] and "scalar" in available


@pytest.mark.parametrize("name", ["mmx", ""])
def test_instruction_sets_that_are_not_there(name: str) -> None:
    best = kernels.instruction_set()
    with pytest.raises(SettingError, match=f"must be one of this processor's .*{best}.*, found '{name}'"):
        kernels.use_instruction_set(name)
    assert kernels.instruction_set() == best


def test_limits_are_of_this_world() -> None:
    limits = kernels.measure_limits()
    assert limits is not None
    assert 1e8 < limits.read_bytes_per_second < 1e13
    assert 1e8 < limits.int8_ops_per_second < 1e15
