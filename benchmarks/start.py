"""Seconds from the command line to the first token of a reply, beside what importing torch alone takes.

    python benchmarks/start.py [--rounds 9] [--model demo] [--quantize q8]

Every round starts each of the two as a process of its own, so that a slow minute hits both; the first round, which may
still fetch and pack the model, is not counted. Prints medians and their ratio as one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median

TORCH = [sys.executable, "-c", "import torch; print('ready')"]


def first_byte_seconds(command: list[str]) -> float:
    """Until a process has written something to standard output."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    found = os.read(process.stdout.fileno(), 1)
    seconds = time.perf_counter() - start
    process.stdout.read()
    if process.wait() or not found:
        sys.exit(f"{' '.join(command)} failed")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--quantize", default="q8")
    arguments = parser.parse_args()
    chat = [sys.executable, "-m", "qwen7b", "chat", "hi", "--model", arguments.model, "--max-new-tokens", "2"]
    chat += ["--quantize", arguments.quantize, "--greedy"]
    rounds = [(first_byte_seconds(TORCH), first_byte_seconds(chat)) for _ in range(1 + arguments.rounds)]
    torch_seconds, first_token_seconds = (median(column) for column in zip(*rounds[1:], strict=True))
    report = {
        "import_torch_seconds": round(torch_seconds, 2),
        "first_token_seconds": round(first_token_seconds, 2),
        "ratio": round(first_token_seconds / torch_seconds, 2),
        "rounds": arguments.rounds,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
