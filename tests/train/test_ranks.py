"""Many processes that train one model: started as a user does, and killed."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import qwen7b
import tiny
from qwen7b.cli.app import app
from qwen7b.errors import ResourceError, SettingError
from qwen7b.train.memory_need import held_bytes, require_training_memory
from qwen7b.train.mesh_settings import MeshSettings
from qwen7b.train.presets import MEMO
from qwen7b.train.pretraining import pretrain
from qwen7b.train.ranks import OneProcess, joined_ranks
from qwen7b.train.run_log import read_log
from train.tiny_training import write_pretraining

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of PyTorch is for one process")

HERE = Path(__file__).parent
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(HERE.parent),
    # else torchrun's next ranks look for those before: https://github.com/pytorch/pytorch/issues/135712
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}


def torchrun(*arguments: str, num_ranks: int = 2) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_ranks}"]
    return subprocess.run([*launcher, *arguments], capture_output=True, text=True, env=ENVIRONMENT)


@pytest.mark.parametrize("name", ["two_ranks.py", "two_ranks_preferring.py"])
def test_what_two_ranks_do_together(name: str) -> None:
    """Runs the tests of a file in both of two processes."""
    plugins = ["-p", "no:cacheprovider", "-p", "train.together"]
    result = torchrun("-m", "pytest", "-x", "-q", "--show-capture=no", *plugins, str(HERE / name))
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-3000:]
    assert result.stdout.count(" passed in ") == 2


def test_torchrun_starts_the_same_verb(tmp_path: Path) -> None:
    recipe = write_pretraining(tmp_path)
    result = torchrun("-m", "qwen7b", "train", "pretrain", str(recipe), "--out", str(tmp_path / "two"), "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)  # of the first rank alone
    assert document["step"] == 8 and document["bits_per_byte"] < 10
    assert result.stderr.count("Step 8 of 8") == 1
    qwen = qwen7b.load(document["model"], quantize="none", dtype="float32")
    assert qwen.complete("the ", max_new_tokens=5, temperature=0).text == document["samples"]["the "]
    pretrain(recipe, tmp_path / "one")
    for one, other in zip(*(read_log(tmp_path / name / "log.jsonl") for name in ("one", "two")), strict=True):
        assert one.keys() == other.keys() and one.get("samples") == other.get("samples")
        for key in one.keys() - {"samples"}:
            assert one[key] == pytest.approx(other[key], rel=1e-5)


def test_torchrun_starts_preference_learning(tmp_path: Path) -> None:
    base = tiny.write_folder(tmp_path / "base", tiny.QWEN2_CONFIG, tiny.qwen2_tensors(), tokenizer=True)
    lines = [{"prompt": "the", "chosen": "hell " * number, "rejected": "he"} for number in range(1, 4)]
    same = {"prompt": "the", "chosen": "he", "rejected": "he"}
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [same, *lines]))
    command = ["train", "dpo", str(tmp_path / "data.jsonl"), "--model", str(base), "--out", str(tmp_path / "run")]
    settings = ["--rows", "3", "--steps", "2", "--precision", "float32", "--device", "cpu", "--shards", "1", "--json"]
    result = torchrun("-m", "qwen7b", *command, *settings)
    assert result.returncode == 0, result.stderr
    saved = tmp_path / "run" / "steps" / "step-00000002"
    assert json.loads(result.stdout) == {"run": str(tmp_path / "run"), "saved": str(saved), "adapter": False}
    assert result.stderr.count("Reading the answers as the reference") == 1
    assert result.stderr.count("warning: 1 pair had twice the same answer") == 1
    encode = qwen7b.load(saved, quantize="none").tokenizer.encode
    answers = [line[name] for line in lines for name in ("chosen", "rejected")]
    targets = sum(len(encode(answer)) + 1 for answer in answers)
    assert [entry["targets"] for entry in read_log(tmp_path / "run" / "log.jsonl")] == [targets] * 2
    refused = torchrun("-m", "qwen7b", *command, *settings, "--beta", "0.2")
    assert refused.returncode == 1
    assert re.search(r"^error( \(rank 1\))?: .* has the run of another recipe", refused.stderr, re.MULTILINE)


class Group:
    """Two ranks of killed_run.py, without torchrun, which would end the others itself."""

    def __init__(self, run: Path, tokenizer_file: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        command = [sys.executable, str(HERE / "killed_run.py"), str(run), str(tokenizer_file), "40", "adamw"]
        self.ranks = [
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**ENVIRONMENT, **common, "RANK": rank, "LOCAL_RANK": rank},
            )
            for rank in ("0", "1")
        ]
        for process in self.ranks:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.readline() == "ready\n", process.stderr.read()

    def end(self, *, seconds: float = 60) -> list[str]:
        """What both said on standard error."""
        return [process.communicate(timeout=seconds)[1] for process in self.ranks]


def contents(run: Path) -> dict[str, bytes]:
    paths = (path for path in sorted(run.rglob("*")) if path.is_file() and path.name not in ("speed.jsonl", ".lock"))
    return {str(path.relative_to(run)): path.read_bytes() for path in paths}


def test_a_rank_that_dies_ends_the_run_which_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    vocabulary = tiny.write_tokenizer_json(tmp_path / "tokenizer.json")
    whole = Group(tmp_path / "whole", vocabulary)
    messages = whole.end()
    assert [process.returncode for process in whole.ranks] == [0, 0], messages
    group, steps = Group(tmp_path / "killed", vocabulary), tmp_path / "killed" / "steps"
    while not any(steps.glob("step-00000004*")):  # is written, or was
        assert group.ranks[0].poll() is None, group.end()
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.1))
    os.kill(group.ranks[0].pid, signal.SIGKILL)  # which keeps the log and the lock, and writes the files' headers
    died = time.monotonic()
    messages = group.end()
    assert time.monotonic() - died < 30
    assert group.ranks[1].returncode == 1 and "TrainingError: rank 1 has lost 1 other rank (" in messages[1], messages
    # Then torchrun goes on with it, and starts both again when the other one has died.
    run = [str(HERE / "killed_run.py"), str(tmp_path / "killed"), str(vocabulary), "40", "adamw", "31"]
    again = torchrun("--max-restarts=1", *run)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("ready") == 4 and "Going on after step 30" in again.stderr
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("settings", "num_ranks", "shape"), [({}, 8, (1, 8)), ({"shards": 4}, 8, (2, 4)), ({"shards": 1}, 3, (3, 1))]
)
def test_the_mesh_has_copies_and_shards(settings: dict[str, Any], num_ranks: int, shape: tuple[int, int]) -> None:
    assert MeshSettings(**settings).shape(num_ranks) == shape


def test_a_mesh_that_ranks_do_not_fill_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match="8 ranks cannot stand in groups of 3 shards"):
        MeshSettings(shards=3).shape(8)
    for wrong in ({"shards": 0}, {"timeout": 0.0}):
        with pytest.raises(SettingError):
            MeshSettings(**wrong)
    with (
        pytest.raises(SettingError, match="1 ranks cannot stand in groups of 2 shards"),
        joined_ranks(MeshSettings(shards=2), device="cpu"),
    ):
        pass
    monkeypatch.setenv("WORLD_SIZE", "2")
    mistaken = CliRunner().invoke(
        app, ["train", "pretrain", str(write_pretraining(tmp_path)), "--out", "x", "--shards", "3"]
    )
    assert mistaken.exit_code == 1 and mistaken.stderr.count("\n") == 1
    assert "error: 2 ranks cannot stand in groups of 3 shards: choose shards that divide their" in mistaken.stderr
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with (
        pytest.raises(SettingError, match="the environment lacks RANK: start them by torchrun"),
        joined_ranks(MeshSettings(), device="cpu"),
    ):
        pass


def test_one_process_knows_nothing_of_other_ranks(tmp_path: Path) -> None:
    recipe = write_pretraining(tmp_path)
    program = (
        "import sys\nfrom pathlib import Path\nfrom qwen7b.train import precision\n"
        "precision._SECONDS = 0.01\nfrom qwen7b.train.pretraining import pretrain\n"
        "pretrain(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "names = ('torch.distributed.checkpoint', 'qwen7b.train.rank_group', 'qwen7b.train.step_writer')\n"
        "print([name for name in names if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", program, str(recipe), str(tmp_path / "run")]
    result = subprocess.run(command, capture_output=True, text=True, env={**ENVIRONMENT, "WORLD_SIZE": "1"})
    assert result.returncode == 0, result.stderr
    assert result.stdout == "[]\n"


def test_ranks_need_their_share_of_memory_and_what_is_whole_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    config = MEMO.model.config(vocab_size=151851, length=256)
    alone, shared = held_bytes(config), held_bytes(config, num_shards=8)
    assert alone / 8 < shared < alone / 4
    ranks = OneProcess()
    ranks.num_ranks, ranks.num_shards, ranks.num_neighbours = 8, 8, 8
    monkeypatch.setattr("qwen7b.train.memory_need.available_bytes", lambda device: 8 * 33 * 10**9)
    settings = {"length": 256, "again": False, "device": torch.device("cpu"), "ranks": ranks}
    require_training_memory(config, micro_rows=1, **settings)
    with pytest.raises(ResourceError, match=r"but 33\.0 GB are free for each rank: micro_rows = 1 "):
        require_training_memory(config, micro_rows=8, **settings)
