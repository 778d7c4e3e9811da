"""The same training on qwen7b, nanoGPT, LitGPT and Transformers' Trainer: its speed, and its memory.

    git clone https://github.com/karpathy/nanoGPT
    python benchmarks/training_peers.py speed --work FOLDER --nanogpt nanoGPT [--rounds 3] [--compile] [--json]
    python benchmarks/training_peers.py memory --work FOLDER [--model demo] [--tokens 2048] [--json]

`speed` trains six layers of 384 dimensions with six heads on rows of 256 tokens by AdamW: 12.2 million weights, of
which nanoGPT's layers, which are GPT-2's, have as many as the others'. Each program runs as it comes, in a new process
and an environment of its own, which the script makes in FOLDER. Rounds are interleaved: every program runs once before
any runs again. A program's speed is that of its median step after the first two; rounds are joined by their median.
With --compile the others compile their models, and ours does not. nanoGPT has no bfloat16 on a CPU.

`memory` trains an adapter of rank 64 on all linear layers, for one step of one conversation, in float32 with layers
computed again for the gradients, by ours and by Trainer with PEFT, and compares the peaks of the processes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from environments import make_environment
from rows import Row, print_rows

from qwen7b.adapters.settings import DEFAULT_TARGETS
from qwen7b.config import Family
from qwen7b.convert import convert

HERE = Path(__file__).parent
REQUIREMENTS = {
    "nanogpt": ["torch==2.13.0", "numpy", "requests", "tiktoken", "transformers"],
    "litgpt": ["litgpt==0.5.13", "requests", "torch==2.13.0"],
    "transformers": ["accelerate", "peft==0.21.2", "torch==2.13.0", "transformers==5.24.0"],
}
SCRIPTS = {"qwen7b": HERE / "pretraining_speed.py"} | {
    name: HERE / "contestants" / f"train_{name}.py" for name in REQUIREMENTS
}
SHAPE = {"vocabulary": 4096, "width": 384, "layers": 6, "heads": 6, "feed_forward": 1024, "length": 256}
_WARM_UP = 2


def speed(python: Path | str, program: str, task: dict[str, Any]) -> float:
    """Tokens a second of a program's median step."""
    command = [python, SCRIPTS[program], json.dumps(task)]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds = json.loads(run.stdout.splitlines()[-1])["seconds"]
    return float(task["rows"] * task["length"] / median(seconds[_WARM_UP:]))


def speeds_of_all(arguments: argparse.Namespace) -> Iterator[Row]:
    folder = Path(arguments.work)
    pythons: dict[str, Path | str] = {"qwen7b": sys.executable}
    pythons |= {name: make_environment(folder / name, *needs) for name, needs in REQUIREMENTS.items()}
    clone = folder / "nanoGPT"
    if not clone.exists():
        shutil.copytree(arguments.nanogpt, clone)
    task = {**SHAPE, "rows": arguments.rows, "steps": arguments.steps, "threads": arguments.threads, "file": str(clone)}
    for precision in ("float32", "bfloat16"):
        speeds: defaultdict[str, list[float]] = defaultdict(list)
        for _ in range(arguments.rounds):
            for program, python in pythons.items():
                if (program, precision) != ("nanogpt", "bfloat16"):
                    compiled = arguments.compile and program != "qwen7b"
                    one = {**task, "precision": precision, "compile": compiled}
                    speeds[program].append(speed(python, program, one))
        figures = {program: float(round(median(each))) for program, each in speeds.items()}
        best = max(value for program, value in figures.items() if program != "qwen7b")
        how = "compiled" if arguments.compile else "as they come"
        goal = ">= 1" if arguments.compile else ">= 1.25"
        yield Row(
            f"tokens a second in {precision} against the best of the others, {how}",
            figures["qwen7b"] / best,
            goal,
            figures,
        )


def memory_of_both(arguments: argparse.Namespace) -> Iterator[Row]:
    folder = Path(arguments.work)
    python = make_environment(folder / "transformers", *REQUIREMENTS["transformers"])
    checkpoint = folder / f"{Path(arguments.model).stem}-qwen2"
    if not checkpoint.exists():
        convert(arguments.model, checkpoint, to="qwen2")
    own: list[str | Path] = [sys.executable, HERE / "adapter_memory.py", "--model", str(checkpoint)]
    own += ["--tokens", str(arguments.tokens), "--threads", str(arguments.threads)]
    task = {
        "file": str(checkpoint),
        "tokens": arguments.tokens,
        "rank": 64,
        "targets": DEFAULT_TARGETS[Family.QWEN2],
        "steps": 1,
        "threads": arguments.threads,
        "checkpointing": True,
    }
    theirs: list[str | Path] = [python, HERE / "contestants" / "tune_transformers.py", json.dumps(task)]
    peaks = {}
    for name, command in (("qwen7b", own), ("transformers", theirs)):
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        peaks[name] = float(json.loads(run.stdout.splitlines()[-1])["peak_mb"])
    yield Row(
        "peak memory of training an adapter, of Trainer's", peaks["qwen7b"] / peaks["transformers"], "<= 0.6", peaks
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "memory"))
    parser.add_argument("--work", required=True, help="the folder for environments")
    parser.add_argument("--nanogpt", default="nanoGPT", help="speed: a clone of nanoGPT")
    parser.add_argument("--model", default="demo", help="memory")
    parser.add_argument("--tokens", type=int, default=2048, help="memory: of the conversation")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    measure = speeds_of_all if arguments.what == "speed" else memory_of_both
    print_rows(measure(arguments), as_json=arguments.json)


if __name__ == "__main__":
    main()
