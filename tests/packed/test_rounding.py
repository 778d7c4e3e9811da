"""Rounding: codes are the nearest, searched scales beat the largest weight, GPTQ beats both on correlated inputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from qwen7b.errors import SettingError
from qwen7b.kernels import GROUP
from qwen7b.packed.compensation import Compensation
from qwen7b.packed.formats import FORMATS, LINEAR, NF4, NON_LINEAR, PEAKED, Codebook, find_format
from qwen7b.packed.rounding import CodebookRounder, largest_scales, round_to_int8

CODEBOOKS = pytest.mark.parametrize(
    "codebook", [LINEAR, NF4, NON_LINEAR, PEAKED], ids=["linear", "nf4", "non-linear", "peaked"]
)


def values_of(codebook: Codebook, indices: Tensor, scales: Tensor) -> Tensor:
    values = torch.tensor(codebook)[indices.int()].float()
    return values * scales.float().repeat_interleave(GROUP, dim=1)


@pytest.fixture
def rows() -> Tensor:
    return torch.randn(32, 4 * GROUP) * 0.02


@CODEBOOKS
def test_codebooks_are_ascending_int8(codebook: Codebook) -> None:
    assert len(codebook) == 16 and list(codebook) == sorted(set(codebook))
    assert min(codebook) == -127 and max(codebook) <= 127


def test_nf4_is_that_of_bitsandbytes() -> None:
    functional = pytest.importorskip("bitsandbytes.functional", reason="compares with bitsandbytes' own codebook")
    expected = functional.get_4bit_type("nf4", device="cpu")
    assert list(NF4) == (expected * 127).round().int().tolist()


@CODEBOOKS
@pytest.mark.parametrize("sign", [1, -1])
def test_every_weight_gets_its_nearest_code(codebook: Codebook, sign: int, rows: Tensor) -> None:
    scales = (sign * largest_scales(rows)).half()
    found = values_of(codebook, CodebookRounder(codebook).round(rows, scales), scales)
    choices = torch.tensor(codebook).float() * scales.float().repeat_interleave(GROUP, dim=1)[..., None]
    least = (choices - rows[..., None]).abs().amin(-1)
    # Where two codes are all but equally near, the table may take the other.
    slack = scales.float().abs().repeat_interleave(GROUP, dim=1) / 16
    assert ((found - rows).abs() <= least + slack).all()


@CODEBOOKS
def test_searched_scales_beat_the_largest_weight(codebook: Codebook, rows: Tensor) -> None:
    rounder = CodebookRounder(codebook)

    def error(scales: Tensor) -> float:
        return float((values_of(codebook, rounder.round(rows, scales), scales) - rows).square().sum())

    scales, errors = rounder.search_scales(rows, torch.ones(rows.shape[1]))
    assert error(scales) < 0.95 * error(largest_scales(rows).half())
    assert errors.sum() == pytest.approx(error(scales), rel=0.02)


def test_important_inputs_get_the_smaller_error(rows: Tensor) -> None:
    importance = torch.ones(rows.shape[1])
    importance[:8] = 1000.0
    rounder = CodebookRounder(NON_LINEAR)

    def error(scales: Tensor) -> float:
        return float((values_of(NON_LINEAR, rounder.round(rows, scales), scales) - rows)[:, :8].square().sum())

    assert error(rounder.search_scales(rows, importance)[0]) < 0.8 * error(
        rounder.search_scales(rows, torch.ones(rows.shape[1]))[0]
    )


def test_eight_bits(rows: Tensor) -> None:
    codes, scales = round_to_int8(rows)
    assert codes.dtype == torch.int8 and codes.abs().max() == 127
    restored = codes.float() * scales.float().repeat_interleave(GROUP, dim=1)
    assert (restored - rows).abs().max() <= 0.51 * largest_scales(rows).max()


@pytest.mark.parametrize("codebook", [NF4, NON_LINEAR], ids=["nf4", "non-linear"])
def test_zeros_stay_zeros(codebook: Codebook) -> None:
    rows = torch.zeros(16, GROUP)
    rounder = CodebookRounder(codebook)
    scales, _ = rounder.search_scales(rows, torch.ones(rows.shape[1]))
    assert not values_of(codebook, rounder.round(rows, scales), scales).any()
    codes, scales = round_to_int8(rows)
    assert not codes.any() and not scales.any()


def test_compensation_lowers_the_error_of_the_output() -> None:
    """With correlated inputs, an error at one input can be made up for at others."""
    inputs = torch.randn(512, 24) @ torch.randn(24, 2 * GROUP) + 0.3 * torch.randn(512, 2 * GROUP)
    rows = torch.randn(32, 2 * GROUP)
    rounder = CodebookRounder(NON_LINEAR)
    importance = inputs.square().mean(0)

    def error(indices: Tensor, scales: Tensor) -> float:
        return float((inputs @ (values_of(NON_LINEAR, indices, scales) - rows).t()).square().sum())

    scales, _ = rounder.search_scales(rows, importance)
    plain = error(rounder.round(rows, scales), scales)
    assert error(*Compensation(inputs).round(rows, rounder)) < 0.4 * plain


def test_compensation_of_inputs_that_have_nothing_in_common_is_plain_rounding() -> None:
    rows = torch.randn(32, 2 * GROUP)
    rounder = CodebookRounder(NON_LINEAR)
    scales, _ = rounder.search_scales(rows, torch.ones(rows.shape[1]))
    indices, found = Compensation(torch.eye(2 * GROUP)).round(rows, rounder)
    assert torch.equal(found, scales) and torch.equal(indices, rounder.round(rows, scales))


def test_rows_are_compensated_independently() -> None:
    inputs = torch.randn(256, GROUP)
    rows = torch.randn(32, GROUP)
    compensation, rounder = Compensation(inputs), CodebookRounder(NON_LINEAR)
    together, _ = compensation.round(rows, rounder)
    apart = [compensation.round(part, rounder)[0] for part in rows.split(16)]
    assert (together == torch.cat(apart)).float().mean() > 0.99


def test_formats() -> None:
    assert find_format("q8").codebooks_of("layers.0.attention.qkv") == ()
    assert find_format("nf4").codebooks_of("layers.0.attention.qkv") == (NF4,)
    for format in FORMATS.values():
        assert format.codebooks_of("embedding") == format.codebooks_of("head") == ()
    with pytest.raises(SettingError, match="q8, q4, nf4, auto, found 'q5'"):
        find_format("q5", other_names=["auto"])
