"""Measures the engine against the closed batches that went before it, and against itself.

    python benchmarks/engine.py --baseline COMMIT [--rounds 5] [--quick] [--json]

COMMIT is installed into a temporary folder, with kernels of its own, and works beside today's in a process of its own:
in every round one after the other, so that a slow minute affects both. Prints medians of each round's ratio beside the
goals. --quick leaves out what takes minutes: the 7B shape, the drafts and the scores.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import site
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from rows import Row, print_rows

ROOT = Path(__file__).parents[1]


class Worker:
    """A process that holds a model and does what it is asked; see engine_worker.py."""

    def __init__(self, package: Path, model: str, quantize: str) -> None:
        # Without site's .pth files: an editable install puts an importer before all paths.
        paths = [str(package), *site.getsitepackages()]
        self.process = subprocess.Popen(
            [sys.executable, "-S", str(ROOT / "benchmarks" / "engine_worker.py"), str(package), model, quantize],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, work: str, **options: Any) -> dict[str, float]:
        assert self.process.stdin and self.process.stdout
        print(json.dumps({"work": work, **options}), file=self.process.stdin, flush=True)
        if not (line := self.process.stdout.readline()):
            sys.exit(f"the work {work} failed")
        return dict(json.loads(line))

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


@contextmanager
def workers(packages: list[Path], model: str, quantize: str) -> Iterator[list[Worker]]:
    started = [Worker(package, model, quantize) for package in packages]
    try:
        yield started
    finally:
        for worker in started:
            worker.close()


@contextmanager
def installed(commit: str) -> Iterator[Path]:
    """A folder that holds the package as of that commit, with its own native library."""
    with tempfile.TemporaryDirectory() as folder:
        source, package = Path(folder, "source"), Path(folder, "package")
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE)
        if archive.returncode:
            sys.exit(archive.returncode)  # git has said why
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(source, filter="data")
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(package)]
        subprocess.run([*install, str(source)], check=True, stdout=sys.stderr)
        yield package


def ratios(rounds: int, top: Callable[[], float], bottom: Callable[[], float]) -> float:
    """The median of both in turn, each divided in its own round."""
    return median(top() / bottom() for _ in range(rounds))


def against_the_baseline(old: Worker, new: Worker, rounds: int) -> Iterator[Row]:
    """What closed batches did too."""
    single = {"prompt": 64, "new": 128}
    value = ratios(rounds, lambda: old("single", **single)["seconds"], lambda: new("single", **single)["seconds"])
    yield Row("one request, speed against the closed loop", value, ">= 0.99", {})
    mixed = {"count": 64, "batch": 8}
    value = ratios(2, lambda: old("mixed", **mixed)["seconds"], lambda: new("mixed", **mixed)["seconds"])
    yield Row("64 requests of mixed lengths, speed against closed batches of 8", value, ">= 1.5", {})


def by_itself(new: Worker, rounds: int) -> Iterator[Row]:
    """What only an open engine does."""
    known = [new("prefix", length=1000, own=16) for _ in range(rounds)]
    value = median(seconds["warm"] / seconds["cold"] for seconds in known)
    yield Row("first token behind 1,000 known tokens, of the time without", value, "<= 0.08", {})
    with tempfile.TemporaryDirectory() as folder, workers([ROOT / "src"], "model:demo", "q4") as (later,):
        later("single", prompt=64, new=8)  # its first request reads the weights' pages, too
        saved = {"folder": folder, "length": 1000, "own": 16}
        cold = [new("saved", seed=seed, **saved)["seconds"] for seed in range(rounds)]
        value = median(later("saved", seed=seed, **saved)["seconds"] / cold[seed] for seed in range(rounds))
    yield Row("the same, saved to disk and read by another process", value, "<= 0.15", {})
    stalls = [new("stall", decoding=4, length=8000) for _ in range(2)]
    value = median(stall["worst"] / stall["median_before"] for stall in stalls)
    yield Row("worst gap while 8,000 tokens are read, of the median before", value, "<= 3", stalls[-1])
    chats = new("memory", chats=200)
    yield Row("memory after 200 chats, of that after 20", chats["at_the_end"] / chats["after_a_tenth"], "flat", chats)
    cancelled = new("cancel", count=1000)
    yield Row("requests of 1,000 that hold memory a step after their end", cancelled["held"], "0", cancelled)


def together(new: Worker, rounds: int, *, goal: str, new_tokens: int) -> Row:
    """How much faster eight are than one."""
    work = {"prompt": 64, "new": new_tokens}
    value = ratios(
        rounds,
        lambda: new("decode", count=8, **work)["tokens_per_second"],
        lambda: new("decode", count=1, **work)["tokens_per_second"],
    )
    return Row("8 requests against 1, tokens per second", value, goal, {})


def table(baseline: str, *, rounds: int, quick: bool) -> Iterator[Row]:
    with installed(baseline) as before, workers([before, ROOT / "src"], "model:demo", "q4") as (old, new):
        yield together(new, rounds, goal=">= 5 (demo q4)", new_tokens=48)
        yield from against_the_baseline(old, new, rounds)
        yield from by_itself(new, rounds)
    with workers([ROOT / "src"], "model:smollm2", "q4") as (new,):
        figures = new("invariance", count=500)
        yield Row("replies of 500 that differ from what they are alone", figures["differ"], "0", figures)
    if quick:
        return
    with workers([ROOT / "src"], "shape:7b", "q4") as (new,):
        yield together(new, 3, goal=">= 4.2 (7B shape)", new_tokens=12)
    for script in ("speculation.py", "scoring.py"):
        done = subprocess.run(
            [sys.executable, str(ROOT / "benchmarks" / script), "--json"], check=True, stdout=subprocess.PIPE, text=True
        )
        for row in json.loads(done.stdout)["rows"]:
            yield Row(**row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseline", required=True, metavar="COMMIT")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    print_rows(table(arguments.baseline, rounds=arguments.rounds, quick=arguments.quick), as_json=arguments.json)


if __name__ == "__main__":
    main()
