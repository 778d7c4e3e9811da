"""Linear interpolation and YaRN turn by the angles that transformers computes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from qwen7b.config.rotary_scaling import DynamicNtk, LinearInterpolation, RotaryScaling, Yarn
from qwen7b.model.rotary import rotary_frequencies, rotary_tables, yarn_kept

POSITIONS = torch.tensor([[0, 1, 7, 100, 2047]])


def tables(
    scaling: RotaryScaling | None, *, base: float = 10000.0, head_size: int = 64, positions: torch.Tensor = POSITIONS
) -> tuple[torch.Tensor, torch.Tensor]:
    frequencies = rotary_frequencies([1.0], base=base, head_size=head_size, scaling=scaling)
    return rotary_tables(positions, frequencies, scaling=scaling)


@pytest.mark.parametrize("head_size", [2, 16, 64, 128])
@pytest.mark.parametrize("base", [10000.0, 1000000.0])
@pytest.mark.parametrize(
    ("scaling", "rope"),
    [
        (LinearInterpolation(factor=2.5), {"rope_type": "linear", "factor": 2.5}),
        (Yarn(factor=4, original_length=32768), {"factor": 4.0, "original_max_position_embeddings": 32768}),
        (Yarn(factor=1, original_length=2048), {"factor": 1.0, "original_max_position_embeddings": 2048}),
        (Yarn(factor=16, original_length=4), {"factor": 16.0, "original_max_position_embeddings": 4}),
        (
            Yarn(factor=8, original_length=64, beta_fast=16, beta_slow=0.5, attention_factor=1.5),
            {
                "factor": 8.0,
                "original_max_position_embeddings": 64,
                "beta_fast": 16,
                "beta_slow": 0.5,
                "attention_factor": 1.5,
            },
        ),
    ],
)
def test_angles_are_those_of_transformers(scaling: object, rope: dict[str, Any], base: float, head_size: int) -> None:
    rope_utils = pytest.importorskip("transformers.modeling_rope_utils", reason="needs the extra hf")
    from transformers import Qwen2Config

    rope = {"rope_type": "yarn", "rope_theta": base, **rope}
    length = int(rope["factor"] * rope.get("original_max_position_embeddings", 2048))
    config = Qwen2Config(
        hidden_size=4 * head_size, num_attention_heads=4, max_position_embeddings=length, rope_parameters=rope
    )
    frequencies, factor = rope_utils.ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, device="cpu")
    angles = (POSITIONS[0, :, None].float() * frequencies).repeat(1, 2)
    cos, sin = tables(scaling, base=base, head_size=head_size)
    # A float32 angle of some thousands is exact to about 2e-4.
    assert torch.allclose(cos[0, :, 0], angles.cos() * factor, atol=5e-4)
    assert torch.allclose(sin[0, :, 0], angles.sin() * factor, atol=5e-4)
    assert torch.allclose(cos[0, :3, 0], angles[:3].cos() * factor, atol=2e-6)
    assert torch.allclose(sin[0, :3, 0], angles[:3].sin() * factor, atol=2e-6)


def test_dynamic_ntk_is_in_its_alpha_alone() -> None:
    for ours, plain in zip(tables(DynamicNtk()), tables(None), strict=True):
        assert torch.equal(ours, plain)


def test_linear_interpolation_divides_positions() -> None:
    stretched = tables(LinearInterpolation(factor=4), positions=POSITIONS * 4)
    for ours, plain in zip(stretched, tables(None), strict=True):
        assert torch.allclose(ours, plain, atol=5e-4)


def test_yarn_keeps_fast_frequencies_and_divides_slow_ones() -> None:
    scaling = Yarn(factor=4, original_length=4096)
    kept = yarn_kept(scaling, base=10000.0, head_size=128)
    turns = 4096 / (2 * math.pi * 10000.0 ** (torch.arange(0, 128, 2) / 128))
    assert (kept[turns > 36] == 1).all() and (kept[turns < 0.8] == 0).all()
    assert (kept.diff() <= 0).all() and ((kept > 0) & (kept < 1)).any()
