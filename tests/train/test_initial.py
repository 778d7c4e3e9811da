"""A new model's weights have the deviations that are stated."""

from __future__ import annotations

import math

import pytest

from train.tiny_training import small_model


@pytest.mark.parametrize("num_layers", [2, 8])
def test_what_writes_to_the_residual_stream_is_smaller_by_the_root_of_its_sums(num_layers: int) -> None:
    for name, parameter in small_model(num_layers=num_layers).named_parameters():
        if parameter.dim() < 2:
            assert (parameter == (0 if name.endswith(".bias") else 1)).all(), name
            continue
        is_written = name.endswith(("attention.output.weight", "feed_forward.down.weight"))
        deviation = 0.02 / math.sqrt(2 * num_layers) if is_written else 0.02
        assert parameter.std().item() == pytest.approx(deviation, rel=0.1), name
        assert abs(parameter.mean().item()) < 0.2 * deviation, name
