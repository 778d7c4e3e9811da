"""The shapes that a config says are those that its model has."""

from __future__ import annotations

import pytest

import tiny
from qwen7b.model.empty_model import empty_model
from qwen7b.model.parameter_shapes import count_weights, parameter_shapes


@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize("tied_head", [True, False])
@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
@pytest.mark.parametrize("num_layers", [1, 11])
def test_they_are_the_modules_in_name_shape_and_order(
    qkv_bias: bool, tied_head: bool, num_kv_heads: int, num_layers: int
) -> None:
    config = tiny.config(
        head_size=10, qkv_bias=qkv_bias, tied_head=tied_head, num_kv_heads=num_kv_heads, num_layers=num_layers
    )
    model = empty_model(config)
    expected = [(name, tuple(parameter.shape)) for name, parameter in model.named_parameters()]
    assert list(parameter_shapes(config).items()) == expected
    assert count_weights(parameter_shapes(config)) == sum(parameter.numel() for parameter in model.parameters())
