"""Perplexity: windows, chunks, and what is refused before any weights are read."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import qwen7b
from qwen7b.errors import PromptError, SettingError
from qwen7b.evals import measure_perplexity
from qwen7b.evals import perplexity as module
from qwen7b.evals.perplexity import cut_windows, negative_log_likelihood


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text("the hell in there 你好 " * 12, encoding="utf-8")
    return file


def test_it_is_exp_of_the_mean_over_all_but_the_first_tokens(tiny_chat_checkpoint: Path, text: Path) -> None:
    (result,) = measure_perplexity(tiny_chat_checkpoint, [text], length=32)
    ids = qwen7b.load_tokenizer(tiny_chat_checkpoint).encode(text.read_text("utf-8"))
    model = qwen7b.load_model(tiny_chat_checkpoint)
    windows = torch.tensor(ids[: len(ids) // 32 * 32]).view(-1, 32)
    with torch.inference_mode():
        logits = model(windows[:, :-1])
    expected = math.exp(F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten()))
    assert result.perplexity == pytest.approx(expected, rel=1e-5)
    assert result.tokens_scored == len(windows) * 31
    assert (result.file, result.method, result.precision, result.dtype) == (str(text), "none", "none", "float32")


@pytest.mark.parametrize(("chunk", "rows"), [(7, 3), (64, 64), (1, 1)])
def test_chunks_change_nothing(
    tiny_chat_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, rows: int
) -> None:
    model = qwen7b.load_model(tiny_chat_checkpoint)
    window = torch.randint(0, 260, (61,))
    expected = negative_log_likelihood(model, window)
    monkeypatch.setattr(module, "PREFILL_CHUNK", chunk)
    monkeypatch.setattr(module, "HEAD_ROWS", rows)
    assert negative_log_likelihood(model, window) == pytest.approx(expected, rel=1e-5)


def test_positions_past_the_trained_length_are_treated_like_all_others(tiny_chat_checkpoint: Path, text: Path) -> None:
    (result,) = measure_perplexity(tiny_chat_checkpoint, [text], length=128, max_windows=1)
    model = qwen7b.load_model(tiny_chat_checkpoint)
    assert model.config.trained_length == 64 and model.config.dynamic_ntk
    window = torch.tensor(qwen7b.load_tokenizer(tiny_chat_checkpoint).encode(text.read_text("utf-8"))[:128])
    with_ntk = math.exp(negative_log_likelihood(model, window) / 127)
    assert result.perplexity != pytest.approx(with_ntk, rel=1e-3)


def test_what_is_left_behind_the_last_window_is_not_read() -> None:
    assert [window.tolist() for window in cut_windows(range(7), length=3)] == [[0, 1, 2], [3, 4, 5]]
    assert [window.tolist() for window in cut_windows(range(7), length=3, max_windows=1)] == [[0, 1, 2]]
    assert cut_windows(range(2), length=3) == []


def test_mistakes_are_found_before_weights_are_read(
    tiny_chat_checkpoint: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "load_model", None)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for files, length, error, message in [
        ([text, tmp_path / "nowhere"], 16, SettingError, "nowhere cannot be read"),
        ([tmp_path / "bytes"], 16, SettingError, "cannot be read as UTF-8"),
        ([text], 4096, PromptError, "fewer than a window of 4096"),
        ([text], 1, SettingError, "length must be a whole number of at least 2"),
    ]:
        with pytest.raises(error, match=message):
            list(measure_perplexity(tiny_chat_checkpoint, files, length=length))
