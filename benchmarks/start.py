"""Measures the seconds from the start of a command to a reply's first token, and from its last token to the exit.

    python benchmarks/start.py [--rounds 9] [--model demo] [--quantize q8]

The same is measured for importing torch. Every round starts both as new processes, so that a slow minute affects both;
the first round, which may still fetch and pack the model and compile Python's files, is not counted. Prints medians
and their ratio as one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median

TORCH = [sys.executable, "-c", "import torch; print('ready', flush=True)"]


def run(command: list[str]) -> tuple[float, float]:
    """Run a process, and return the seconds until its first output, and from its last output to its exit."""
    # Installed programs have their bytecode beside them; with this variable all would be compiled again each time.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    first_byte = os.read(process.stdout.fileno(), 1)
    first_time = last_time = time.perf_counter()
    while os.read(process.stdout.fileno(), 1 << 16):
        last_time = time.perf_counter()
    if process.wait() or not first_byte:
        sys.exit(f"{' '.join(command)} failed")
    return first_time - start, time.perf_counter() - last_time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--quantize", default="q8")
    arguments = parser.parse_args()
    chat = [sys.executable, "-m", "qwen7b", "chat", "hi", "--model", arguments.model, "--max-new-tokens", "2"]
    chat += ["--quantize", arguments.quantize, "--greedy"]
    rounds = [(*run(TORCH), *run(chat)) for _ in range(1 + arguments.rounds)]
    medians = (median(column) for column in zip(*rounds[1:], strict=True))
    torch_seconds, torch_end, first_token_seconds, end = medians
    report = {
        "import_torch_seconds": round(torch_seconds, 2),
        "first_token_seconds": round(first_token_seconds, 2),
        "ratio": round(first_token_seconds / torch_seconds, 2),
        "import_torch_end_seconds": round(torch_end, 2),
        "end_seconds": round(end, 2),
        "rounds": arguments.rounds,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
