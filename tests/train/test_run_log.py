"""The files in which a run says how it goes: whole lines, true shares, and one sentence where the disk is full."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from qwen7b.adapters.adapted_modules import add_adapter
from qwen7b.adapters.settings import DEFAULT_TARGETS, LoraSettings
from qwen7b.errors import ResourceError
from qwen7b.train.loop import Spikes, take_step
from qwen7b.train.micro_batch import NO_TARGET, labelled
from qwen7b.train.optimizers import Optimizers
from qwen7b.train.run_log import RunLog, StepRecord, read_log
from qwen7b.train.run_pace import RunPace
from train.tiny_training import settings, small_model

RECORD = StepRecord(step=1, loss=1.0, grad_norm=1.0, learning_rate=1.0, tokens=10, targets=10)


def note_a_step(file: RunLog | RunPace) -> None:
    if isinstance(file, RunLog):
        file.add(RECORD.entry())
    else:
        file.start(done=0, total=2)
        file.add(RECORD, length=5)


def opened(kind: str, path: Path) -> AbstractContextManager[Any]:
    return RunLog(path) if kind == "log" else RunPace(path, small_model(), peak=1e9)


def test_a_line_of_times_that_was_cut_off_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "speed.jsonl"
    for _ in range(2):
        with opened("pace", path) as pace:
            note_a_step(pace)
        with path.open("ab") as file:
            file.write(b'{"step": 2, "sec')
    with opened("pace", path) as pace:
        note_a_step(pace)
    assert [entry["step"] for entry in read_log(path)] == [1, 1, 1]


@pytest.mark.parametrize("kind", ["log", "pace"])
def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    files: list[IO[Any]] = []
    real = Path.open

    def remembered(*args: Any, **named: Any) -> IO[Any]:
        files.append(real(*args, **named))
        return files[-1]

    monkeypatch.setattr(Path, "open", remembered)

    def run_out_of_space() -> None:
        with real(Path("/dev/full"), "wb") as full, opened(kind, tmp_path / "file") as file:
            os.dup2(full.fileno(), files[-1].fileno())
            note_a_step(file)

    with pytest.raises(ResourceError, match=r"the disk that holds .* is full"):
        run_out_of_space()


@pytest.mark.parametrize("kind", ["all weights", "an adapter"])
def test_the_share_of_peak_is_of_what_is_computed(tmp_path: Path, kind: str) -> None:
    """By torch's own count of the products of a step, half of whose tokens are targets."""
    model = small_model(num_layers=8)  # so that the lowest, whose inputs need no gradient, matters little
    if kind == "an adapter":
        add_adapter(model, LoraSettings(targets=DEFAULT_TARGETS[model.config.family], rank=2, dropout=0.0))
    ids = torch.arange(1, 17)
    batch = labelled([ids], [ids.where(ids > 8, NO_TARGET)])
    recipe, seconds = settings(), iter((0.0, 2.0))
    with FlopCounterMode(display=False) as counter:
        record = take_step(model, Optimizers(recipe.optimizer, model), [batch], recipe, step=5, spikes=Spikes(10.0))
    with RunPace(tmp_path / "speed.jsonl", model, peak=1e6, clock=lambda: next(seconds)) as pace:
        pace.start(done=5, total=9)
        pace.add(record, length=len(ids))
    [entry] = read_log(tmp_path / "speed.jsonl")
    attention = 6 * 8 * model.config.hidden_size * len(ids) ** 2  # which torch does not count on a CPU
    assert entry["share_of_peak"] == pytest.approx((counter.get_total_flops() + attention) / 2.0 / 1e6, rel=0.02)
