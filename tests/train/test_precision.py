"""The probe at a run's start: what is clearly faster is chosen, and a format that was named is left alone."""

from __future__ import annotations

import pytest
import torch

from qwen7b.train.precision import probe_precision

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwen7b.train.precision._SECONDS", 0.05)


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({torch.float32: 0.03, torch.bfloat16: 0.02}, "bfloat16"),
        ({torch.float32: 0.02, torch.bfloat16: 0.03}, "float32"),
        ({torch.float32: 0.02, torch.bfloat16: 0.02}, "float32"),
        ({torch.float32: 9.0, torch.bfloat16: 5.0}, "bfloat16"),
    ],
    ids=["faster", "slower", "as fast", "once each"],
)
def test_a_trial_decides(seconds: dict[torch.dtype, float], chosen: str, capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0

    def trial(dtype: torch.dtype) -> None:
        nonlocal now
        now += seconds[dtype]

    probe = probe_precision("auto", device=CPU, trial=trial, clock=lambda: now)
    assert probe.precision == chosen and probe.peak > 1e8
    assert f"Computing in {chosen}" in capsys.readouterr().err


def test_a_format_that_was_named_is_not_tried() -> None:
    def trial(dtype: torch.dtype) -> None:
        raise AssertionError

    assert probe_precision("bfloat16", device=CPU, trial=trial).dtype == torch.bfloat16


def test_without_a_trial_products_decide() -> None:
    assert probe_precision("auto", device=CPU).precision in ("float32", "bfloat16")
