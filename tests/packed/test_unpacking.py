"""Packed weights that gradients pass through compute as floats do, whatever is unpacked at once."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from qwen7b.packed.modules import PackedLinear
from qwen7b.packed.unpacking import UnpackingLinear, let_gradients_through
from random_packed import random_matrix, random_model


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "qwen7b.packed.unpacking._BLOCK_WEIGHTS", 2000
    )  # some 32 rows, of which the last block has fewer


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("shape", [(100, 72), (16, 64), (5, 200)])
def test_outputs_and_gradients_are_those_of_the_unpacked_matrix(shape: tuple[int, int], bits: int) -> None:
    matrix, bias = random_matrix(*shape, bits=bits), torch.randn(shape[0])
    x = torch.randn(2, 9, shape[1], requires_grad=True)
    actual = UnpackingLinear(PackedLinear(matrix, bias=bias))(x)
    expected = F.linear(x, matrix.dequantize(), bias)
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)
    upstream = torch.randn_like(actual)
    (own,), (theirs,) = (torch.autograd.grad(y, x, upstream) for y in (actual, expected))
    torch.testing.assert_close(own, theirs, atol=1e-6, rtol=1e-5)


def test_in_bfloat16_they_are_as_exact_as_torch_s_own() -> None:
    matrix = random_matrix(100, 72, bits=4)
    x = torch.randn(9, 72, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        actual = UnpackingLinear(PackedLinear(matrix))(x)
        expected = F.linear(x, matrix.dequantize())
    assert actual.dtype == torch.bfloat16
    torch.testing.assert_close(actual, expected)
    own, theirs = (torch.autograd.grad(y.sum(), x)[0] for y in (actual, expected))
    assert own.dtype == torch.float32
    torch.testing.assert_close(own, theirs, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_model_shares_its_memory_and_computes_without_rounding_inputs(bits: int) -> None:
    model = random_model(bits=bits)
    changed = copy.deepcopy(model)
    let_gradients_through(changed)
    layers = dict(changed.named_modules())
    let_gradients_through(changed)  # once more, which is harmless
    assert dict(changed.named_modules()) == layers
    held = {name: buffer for name, buffer in changed.named_buffers() if buffer is not None}
    assert sum(buffer.nbytes for buffer in held.values()) == sum(buffer.nbytes for buffer in model.buffers())
    assert not any(parameter.requires_grad and parameter.dim() == 2 for parameter in changed.parameters())
    ids = torch.arange(1, 20)[None]
    rounded, exact = model(ids), changed(ids)
    assert exact.requires_grad  # from the norms
    assert 0 < (rounded - exact).norm() < 0.05 * exact.norm()
    cache = changed.new_cache(max_length=40)  # and its cache is still the packed one
    with torch.no_grad():
        assert (changed(ids, cache=cache) - exact).norm() < 0.05 * exact.norm()
