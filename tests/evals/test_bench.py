"""Speed: what is reported of a timed model, and what its limits make of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import qwen7b
from qwen7b import kernels
from qwen7b.errors import SettingError
from qwen7b.evals import Work, measure_speed
from qwen7b.evals.bench import MachinePeaks

WORK = Work(prompt_tokens=8, new_tokens=2, context=4, batch=2, repeat=2)


def test_shares_are_of_the_median_limits(tiny_chat_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = iter([1e9, 3e9])
    monkeypatch.setattr(
        kernels,
        "measure_limits",
        lambda: MachinePeaks(read_bytes_per_second=next(samples), int8_ops_per_second=1e12),
    )
    model = qwen7b.load_model(tiny_chat_checkpoint)
    speed = measure_speed(lambda: model, WORK)
    assert speed.limits == MachinePeaks(read_bytes_per_second=2e9, int8_ops_per_second=1e12)
    rate = speed.decode.tokens_per_second
    assert speed.decode.bandwidth_share == pytest.approx(speed.bytes_per_token * rate / 2e9)
    layers = [weight for weight in model.layers.parameters() if weight.dim() == 2]
    per_token = 2 * sum(weight.numel() for weight in layers)
    assert speed.prefill.int8_share == pytest.approx(per_token * speed.prefill.tokens_per_second / 1e12)


def test_a_step_reads_the_weights_but_the_embedding_and_the_filled_cache(
    tiny_chat_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "measure_limits", lambda: None)
    model = qwen7b.load_model(tiny_chat_checkpoint)
    speed = measure_speed(lambda: model, WORK)
    weights = sum(p.nbytes for name, p in model.named_parameters() if not name.startswith("embedding"))
    cached = model.new_cache(max_length=1).num_bytes  # of a token
    length = WORK.context + WORK.repeat * WORK.new_tokens // 2
    assert speed.bytes_per_token == pytest.approx(weights / WORK.batch + cached * length, abs=2)


def test_without_the_native_library_there_are_no_shares(
    tiny_chat_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "measure_limits", lambda: None)
    speed = measure_speed(lambda: qwen7b.load_model(tiny_chat_checkpoint), WORK)
    assert speed.limits == MachinePeaks(read_bytes_per_second=None, int8_ops_per_second=None)
    assert speed.prefill.int8_share is speed.decode.bandwidth_share is None
    assert 0 < speed.first_token_seconds < 60 and 0 < speed.load_seconds < 60
    assert speed.peak_memory_bytes > torch.zeros(1).nbytes


@pytest.mark.parametrize("name", ["prompt_tokens", "new_tokens", "context", "batch", "repeat"])
def test_work_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match=f"{name} must be a whole number of at least 1, found 0"):
        Work(**{name: 0})
