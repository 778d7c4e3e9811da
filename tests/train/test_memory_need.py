"""Memory is asked for before anything is computed, and what would fit is said."""

from __future__ import annotations

import pytest
import torch

from qwen7b.errors import ResourceError
from qwen7b.train.memory_need import require_training_memory, training_bytes
from qwen7b.train.presets import MEMO, TINY

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("gigabytes", "remedy"),
    [
        (200, None),
        (138, "micro_rows = 4 would fit"),
        (126, "micro_rows = 8 and activation_checkpointing = true would fit"),
        (100, "choose a smaller model"),
    ],
)
def test_what_would_fit_is_said(monkeypatch: pytest.MonkeyPatch, gigabytes: int, remedy: str | None) -> None:
    config = MEMO.model.config(vocab_size=151851, length=256)
    monkeypatch.setattr("qwen7b.train.memory_need.available_bytes", lambda device: gigabytes * 10**9)
    settings = {"micro_rows": 8, "length": 256, "again": False, "device": CPU}
    if remedy is None:
        require_training_memory(config, **settings)
        return
    with pytest.raises(ResourceError, match=r"123\.5 GB of it for weights and optimizer") as caught:
        require_training_memory(config, **settings)
    assert remedy in str(caught.value)


def test_the_tiny_preset_fits_a_small_machine() -> None:
    config = TINY.model.config(vocab_size=4096, length=TINY.corpus.length)
    assert training_bytes(config, micro_rows=TINY.corpus.micro_rows, length=TINY.corpus.length, again=False) < 2e9
