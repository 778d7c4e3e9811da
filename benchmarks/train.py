"""What training promises, measured: a run that is killed at random moments, the speed of a step, and its memory.

    python benchmarks/train.py kills [--count 50] [--json]
    python benchmarks/train.py speed [--json]
    python benchmarks/train.py ranks [--json]
    python benchmarks/train.py memory [--model demo] [--tokens 512] [--rank 64] [--steps 1] [--json]

`kills` starts a run again and again and ends it by SIGKILL after a random time, every other one at a random moment of
saving a step; then it compares weights, optimizer and log with those of a run that was never stopped. Its text
is Python's standard library. `speed` times steps of ten million weights in float32 and bfloat16, as medians. `ranks`
compares the gradients of two ranks with those of one process that adds up two parts, and a run that is killed on two
ranks, goes on in one process, is killed again and ends on two ranks with one that was never stopped. `memory` trains an
adapter beside floats and beside packed weights, each in a process of its own, and reads its peak.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from adapter_memory import measure_memory
from safetensors.torch import load_file

from qwen7b.data.shards import ShardWriter
from qwen7b.hub.saved_steps import saved_steps
from qwen7b.text import Tokenizer
from qwen7b.train.initial import new_model
from qwen7b.train.loop import Spikes, take_step
from qwen7b.train.micro_batch import MicroBatch
from qwen7b.train.optimizer_settings import AdamW, Muon, Optimizer
from qwen7b.train.optimizers import Optimizers
from qwen7b.train.precision import probe_precision
from qwen7b.train.pretraining import pretrain
from qwen7b.train.recipe import Corpus, PretrainRecipe, Shape, Training
from qwen7b.train.recipe_file import recipe_text
from qwen7b.train.run_pace import operations_per_token
from qwen7b.vocab.byte_pairs import train_vocabulary, write_vocabulary

LONGEST_LIFE = 1.0
"""Seconds after which a run is killed at the latest."""


def write_corpus(folder: Path) -> Tokenizer:
    """Write a vocabulary of 512 tokens, and shards of some of Python's standard library, into a folder."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:40]
    texts = [file.read_text("utf-8", errors="replace") for file in files]
    vocabulary = train_vocabulary(texts, num_tokens=512)
    write_vocabulary(vocabulary, folder / "tokenizer.json")
    tokenizer = Tokenizer(vocabulary)
    with ShardWriter(folder / "shards", tokenizer=tokenizer) as writer:
        for text in texts:
            writer.add(tokenizer.encode(text))
    return tokenizer


def prepare(folder: Path, *, steps: int, optimizer: Optimizer, max_grad_norm: float = 1.0) -> Path:
    """Write vocabulary, shards and recipe of a tiny run; returns the recipe's path."""
    write_corpus(folder)
    recipe = PretrainRecipe(
        model=Shape(hidden_size=32, num_layers=2, num_heads=2, feed_forward_size=64, family="qwen2", tied_head=True),
        corpus=Corpus(tokenizer="tokenizer.json", shards=("shards",), length=32, rows=4, micro_rows=2),
        training=Training(
            steps=steps, save_every=2, precision="float32", optimizer=optimizer, max_grad_norm=max_grad_norm
        ),
    )
    path = folder / "recipe.toml"
    path.write_text(recipe_text(recipe), encoding="utf-8")
    return path


def run_quietly(recipe: Path, run: Path, ready: Any) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    torch.set_num_threads(1)
    ready.set()
    pretrain(recipe, run)


def measure_kills(*, count: int, seed: int) -> dict[str, Any]:
    """Kill a run `count` times, let it end, and compare it with one that was never killed."""
    from qwen7b.train import precision

    precision._SECONDS = 0.01  # the probe would take most of a short life
    context, draw = multiprocessing.get_context("fork"), random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = prepare(folder, steps=8 * count, optimizer=Muon())
        killed = while_saving = 0
        while True:
            ready = context.Event()
            process = context.Process(target=run_quietly, args=(recipe, folder / "killed", ready))
            process.start()
            ready.wait()
            if killed < count:
                process.join(draw.uniform(0, LONGEST_LIFE))
                if killed % 2:  # every other one once a step is being saved
                    while process.is_alive() and not is_saving(folder / "killed"):
                        time.sleep(0.0002)
                    time.sleep(draw.uniform(0, 0.005))
                if process.is_alive():
                    os.kill(process.pid or 0, signal.SIGKILL)
                    killed += 1
            process.join()
            while_saving += is_saving(folder / "killed")
            if process.exitcode == 0:
                break
            if process.exitcode != -signal.SIGKILL:
                raise SystemExit(f"the run ended by itself with {process.exitcode}")
        ready = context.Event()
        whole = context.Process(target=run_quietly, args=(recipe, folder / "whole", ready))
        whole.start()
        whole.join()
        contents = [content(folder / run) for run in ("whole", "killed")]
        return {
            "kills": killed,
            "kills_while_saving": while_saving,
            "steps": 8 * count,
            "files_compared": len(contents[0]),
            "bit_equal": contents[0] == contents[1],
        }


def is_saving(run: Path) -> bool:
    """Whether a step is written, or was being when the run was killed."""
    return any((run / "steps").glob("*.partial"))


def content(run: Path) -> dict[str, bytes]:
    """All files of a run but those that tell the time or where the recipe is."""
    left_out = ("speed.jsonl", ".lock", "origin.json")
    paths = (path for path in sorted(run.rglob("*")) if path.is_file() and path.name not in left_out)
    return {str(path.relative_to(run)): path.read_bytes() for path in paths}


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def measure_ranks() -> dict[str, Any]:
    """Two ranks beside one process: the gradients of a step, and runs that go on with another number of ranks."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    program = str(Path(__file__).with_name("rank_gradients.py"))
    printed = subprocess.run([*TORCHRUN, program], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = prepare(folder, steps=60, optimizer=AdamW(), max_grad_norm=1e9)

        def start(run: str, *launcher: str) -> subprocess.Popen[bytes]:
            verb = ["-m", "qwen7b", "train", "pretrain", str(recipe), "--out", str(folder / run)]
            return subprocess.Popen(
                [*launcher, *verb],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

        if start("whole", *TORCHRUN).wait():
            raise SystemExit("the run on two ranks ended by itself")
        killed_after = []
        for launcher, enough in ((TORCHRUN, 20), ([sys.executable], 40)):
            process = start("changing", *launcher)
            while last_step(folder / "changing") < enough:
                if process.poll() is not None:
                    raise SystemExit(f"the run ended by itself with {process.returncode}")
                time.sleep(0.001)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed_after.append(last_step(folder / "changing"))
        if start("changing", *TORCHRUN).wait():
            raise SystemExit("the run on two ranks ended by itself")
        steps = [folder / run / "steps" / "step-00000060" for run in ("whole", "changing")]
        weights = [load_file(step / "model.safetensors") for step in steps]
        names = ("model.safetensors", "optimizer.safetensors")
        return {
            "gradients": json.loads(printed.stdout),
            "2 -> 1 -> 2": {
                "killed_after_steps": killed_after,
                "bit_equal": all((steps[0] / name).read_bytes() == (steps[1] / name).read_bytes() for name in names),
                "max_difference": max(float((weights[0][key] - weights[1][key]).abs().max()) for key in weights[0]),
            },
        }


def last_step(run: Path) -> int:
    return max((int(path.name[5:]) for path in saved_steps(run)), default=0)


def measure_speed(*, steps: int, threads: int) -> dict[str, Any]:
    """Tokens a second of a step of 8 rows of 256 tokens, by number format, and the share of the probed peak."""
    torch.set_num_threads(threads)
    shape = Shape(hidden_size=320, num_layers=6, num_heads=5, feed_forward_size=896, family="qwen2", tied_head=True)
    config = shape.config(vocab_size=4096, length=256)
    ids = [torch.randint(0, 4096, (257,)) for _ in range(8)]
    batch = MicroBatch(sequences=tuple(row[:-1] for row in ids), targets=torch.cat([row[1:] for row in ids]))
    results: dict[str, Any] = {"threads": threads}
    for precision in ("float32", "bfloat16"):
        probe = probe_precision(precision, device=torch.device("cpu"))
        model, settings = new_model(config, seed=0), Training(steps=steps + 1)
        optimizers, spikes, seconds = Optimizers(settings.optimizer, model), Spikes(1e9), []
        for step in range(steps + 1):
            start = time.perf_counter()
            take_step(model, optimizers, [batch], settings, step=step, spikes=spikes, dtype=probe.dtype)
            seconds.append(time.perf_counter() - start)
        rate = batch.num_tokens / statistics.median(seconds[1:])
        results["weights"] = sum(parameter.numel() for parameter in model.parameters())
        results[precision] = {
            "tokens_per_second": round(rate, 1),
            "share_of_peak": round(rate * operations_per_token(config, length=256) / probe.peak, 3),
        }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("kills", "speed", "ranks", "memory"))
    parser.add_argument("--count", type=int, default=50, help="kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of kills")
    parser.add_argument("--steps", type=int, help="timed steps a format; by default 7, and 1 for memory")
    parser.add_argument("--model", default="demo", help="memory")
    parser.add_argument("--tokens", type=int, default=512, help="memory: of the step's one conversation")
    parser.add_argument("--rank", type=int, default=64, help="memory: the adapter's")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    arguments = parser.parse_args()
    if arguments.what == "kills":
        results = measure_kills(count=arguments.count, seed=arguments.seed)
    elif arguments.what == "ranks":
        results = measure_ranks()
    elif arguments.what == "speed":
        results = measure_speed(steps=arguments.steps or 7, threads=arguments.threads)
    else:
        results = measure_memory(
            arguments.model,
            tokens=arguments.tokens,
            rank=arguments.rank,
            steps=arguments.steps or 1,
            threads=arguments.threads,
        )
    print(json.dumps(results) if arguments.json else json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
