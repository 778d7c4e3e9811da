"""Runs that are stopped go on to the same bits, whenever it is; and a folder never holds a step in part."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import qwen7b
import tiny
from qwen7b.errors import CheckpointError, ResourceError, SettingError
from qwen7b.train.checkpoints import RunFolder
from qwen7b.train.optimizer_settings import Muon
from qwen7b.train.run_log import read_log
from train.tiny_training import run_in, settings

PROGRAM = Path(__file__).with_name("killed_run.py")


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> Path:
    return tiny.write_tokenizer_json(tmp_path / "tokenizer.json")


def content(run: Path) -> dict[str, bytes]:
    """All files of a run but those that tell the time."""
    skipped = ("speed.jsonl", ".lock")
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name not in skipped
    }


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_stopped_run_goes_on_to_the_same_bits(
    tmp_path: Path, tokenizer_file: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    changes: dict[str, Any] = {"optimizer": Muon()} if optimizer == "muon" else {}
    last = run_in(tmp_path / "whole", tokenizer_file, **changes)
    assert last.name == "step-00000006"
    taken = 0

    def stopped_step(*args: Any, **named: Any) -> Any:
        nonlocal taken
        taken += 1
        if taken in (4, 6):  # after one more step than was saved
            raise KeyboardInterrupt
        return take_step(*args, **named)

    from qwen7b.train.loop import take_step

    monkeypatch.setattr("qwen7b.train.loop.take_step", stopped_step)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_in(tmp_path / "stopped", tokenizer_file, **changes)
    run_in(tmp_path / "stopped", tokenizer_file, **changes)
    assert content(tmp_path / "stopped") == content(tmp_path / "whole")


def test_what_was_learned_is_in_the_last_step_and_in_the_log(tmp_path: Path, tokenizer_file: Path) -> None:
    last = run_in(tmp_path / "run", tokenizer_file, steps=40, save_every=40)
    entries = [*read_log(tmp_path / "run" / "log.jsonl")]
    assert [entry["step"] for entry in entries] == [*range(1, 41)]
    assert entries[-1]["loss"] < entries[0]["loss"] - 0.05
    assert entries[-1].keys() == {"step", "loss", "grad_norm", "learning_rate", "tokens", "targets"}
    loaded = qwen7b.load_model(last)
    assert loaded.dtype == torch.float32 and loaded.config.vocab_rows == 320


def test_only_the_last_steps_stay(tmp_path: Path, tokenizer_file: Path) -> None:
    run_in(tmp_path / "run", tokenizer_file, steps=7, save_every=2, keep=2)
    assert sorted(path.name for path in (tmp_path / "run" / "steps").iterdir()) == ["step-00000006", "step-00000007"]


def test_a_finished_run_is_left_as_it_is(tmp_path: Path, tokenizer_file: Path) -> None:
    run_in(tmp_path / "run", tokenizer_file)
    before = content(tmp_path / "run")
    run_in(tmp_path / "run", tokenizer_file)
    assert content(tmp_path / "run") == before


def test_another_recipe_is_refused(tmp_path: Path, tokenizer_file: Path) -> None:
    run_in(tmp_path / "run", tokenizer_file)
    with pytest.raises(SettingError, match=r"another recipe, with 'seed = 0' where this one has 'seed = 1'"):
        run_in(tmp_path / "run", tokenizer_file, seed=1)


def test_a_run_of_a_release_with_other_documentation_goes_on(tmp_path: Path, tokenizer_file: Path) -> None:
    run_in(tmp_path / "run", tokenizer_file)
    recipe = tmp_path / "run" / "recipe.toml"
    recipe.write_text(recipe.read_text("utf-8").replace("# What ", "# The number that ", 1), "utf-8")
    before = content(tmp_path / "run")
    run_in(tmp_path / "run", tokenizer_file)
    assert content(tmp_path / "run") == before


def test_a_run_goes_on_however_a_number_of_its_recipe_is_written(tmp_path: Path, tokenizer_file: Path) -> None:
    run_in(tmp_path / "run", tokenizer_file)
    recipe = tmp_path / "run" / "recipe.toml"
    text = recipe.read_text("utf-8")
    recipe.write_text(text.replace("max_grad_norm = 1.0", "max_grad_norm = 1"), "utf-8")
    run_in(tmp_path / "run", tokenizer_file, max_grad_norm=1)
    with pytest.raises(SettingError, match=r"with 'max_grad_norm = 1' where this one has 'max_grad_norm = 2\.0'"):
        run_in(tmp_path / "run", tokenizer_file, max_grad_norm=2)
    recipe.write_text(f"{text}# data: {'0' * 16}\n", "utf-8")
    with pytest.raises(SettingError, match="with '# data: 0000000000000000' where this one has 'nothing'"):
        run_in(tmp_path / "run", tokenizer_file)


def test_a_folder_of_something_else_is_refused(tmp_path: Path, tokenizer_file: Path) -> None:
    with pytest.raises(SettingError, match=r"holds tokenizer\.json and no run"):
        run_in(tmp_path, tokenizer_file)


def test_a_run_that_was_killed_before_its_recipe_was_written_begins(
    tmp_path: Path, tokenizer_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, text: str) -> None:
        (path.parent / ".0123.part").write_text(text[:10])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("qwen7b.train.checkpoints.write_text_whole", killed)
        with pytest.raises(KeyboardInterrupt):
            run_in(tmp_path / "run", tokenizer_file)
    assert run_in(tmp_path / "run", tokenizer_file).is_dir()
    assert not (tmp_path / "run" / ".0123.part").exists()


def test_two_processes_do_not_write_one_run(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run").held(settings()):
        program = (
            "import sys; from pathlib import Path; from qwen7b.train.checkpoints import RunFolder\n"
            "from qwen7b.train.recipe import Training\n"
            "with RunFolder(Path(sys.argv[1])).held(Training(steps=6)): pass"
        )
        command = [sys.executable, "-c", program, str(tmp_path / "run")]
        result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1 and "another process is training in" in result.stderr


@pytest.mark.parametrize("failing", ["model.safetensors", "optimizer.safetensors"])
def test_a_full_disk_leaves_the_last_good_step(
    tmp_path: Path, tokenizer_file: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    run_in(tmp_path / "run", tokenizer_file, steps=6, save_every=6)
    shutil.copytree(tmp_path / "run", tmp_path / "whole")
    shutil.rmtree(tmp_path / "run")
    real, written = Path.open, 0

    def open_on_full_disk(path: Path, mode: str = "r", *args: Any, **named: Any) -> Any:
        nonlocal written
        if path.name == failing and mode == "wb" and path.parent.name.endswith(".partial"):
            written += 1
            if written == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, mode, *args, **named)

    monkeypatch.setattr(Path, "open", open_on_full_disk)
    with pytest.raises(ResourceError, match=r"the disk that holds .* is full"):
        run_in(tmp_path / "run", tokenizer_file, steps=6, save_every=3)
    assert [path.name for path in (tmp_path / "run" / "steps").iterdir()] == ["step-00000003"]
    monkeypatch.undo()
    last = run_in(tmp_path / "run", tokenizer_file, steps=6, save_every=3)
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (last / name).read_bytes() == (tmp_path / "whole" / "steps" / last.name / name).read_bytes()


def test_a_step_of_another_shape_is_refused(
    tmp_path: Path, tokenizer_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_in(tmp_path / "run", tokenizer_file)
    from train import tiny_training

    original = tiny_training.small_model
    monkeypatch.setattr(tiny_training, "small_model", lambda **named: original(feed_forward_size=56))
    with pytest.raises(CheckpointError, match=r"feed_forward\.\w+\.weight of shape .* but the run's model has"):
        run_in(tmp_path / "run", tokenizer_file)


def test_a_log_that_was_cut_is_refused(tmp_path: Path, tokenizer_file: Path) -> None:
    run_in(tmp_path / "run", tokenizer_file)
    log = tmp_path / "run" / "log.jsonl"
    log.write_bytes(log.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="has 50 bytes, but the saved step was made after"):
        run_in(tmp_path / "run", tokenizer_file)


def test_a_damaged_optimizer_is_refused(tmp_path: Path, tokenizer_file: Path) -> None:
    last = run_in(tmp_path / "run", tokenizer_file)
    path = last / "optimizer.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="is not what its checksum was made of"):
        run_in(tmp_path / "run", tokenizer_file)


def kill_until_done(run: Path, tokenizer_file: Path, *, steps: int, optimizer: str, kills: int, seed: int) -> int:
    """Start a run again and again, and kill it after a random time that grows; returns how often it was killed."""
    draw, killed = random.Random(seed), 0
    command = [sys.executable, str(PROGRAM), str(run), str(tokenizer_file), str(steps), optimizer]
    while True:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            if killed < kills:
                time.sleep(draw.uniform(0.0, 0.6))
                if process.poll() is None:
                    os.kill(process.pid, signal.SIGKILL)
                    killed += 1
            _, messages = process.communicate()
        if process.returncode == 0:
            return killed
        assert process.returncode == -signal.SIGKILL, messages


def test_kills_at_random_moments_change_no_bit(tmp_path: Path, tokenizer_file: Path) -> None:
    """Every second step is saved, so that many a kill comes while one is."""
    run_in(tmp_path / "whole", tokenizer_file, steps=40, optimizer=Muon())
    assert kill_until_done(tmp_path / "killed", tokenizer_file, steps=40, optimizer="muon", kills=3, seed=1) >= 2
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
