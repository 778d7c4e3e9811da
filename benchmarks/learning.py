"""What some minutes of pretraining teach: bits a byte of held-out text, by ours, by nanoGPT and by compressors.

    git clone https://github.com/karpathy/nanoGPT
    python benchmarks/learning.py --texts FOLDER --nanogpt nanoGPT --minutes 30 --work FOLDER [--threads 1] [--json]

FOLDER has a folder for each source of texts: docs/pretrain.md says what was in it. Our verbs make the corpus, once, in
the folder of --work: clean, dedup, decontamination against the documents that are held out, vocab train, tokenize.

Then `qwen7b train pretrain` and nanoGPT's own script train from nothing at the same time, each on cores of its own: six
layers of 256 dimensions, as many weights to a percent, the same tokens in rows of 256, the same number format, which is
what our probe chose. A short run before says how many steps ours makes in the time; nanoGPT's rate follows the clock
and ends with it. Minutes are those of training: looks, which both have as often, do not count. A line of the table has
the last look of each until then, or a moment later. Compressors are given all text that ours had read by then, by
`qwen7b train report`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from learning_corpus import TOKENS, prepare_corpus, printed

from qwen7b.data.shards import Shards
from qwen7b.model.parameter_shapes import count_weights, parameter_shapes
from qwen7b.train.compressors import COMPRESSORS
from qwen7b.train.optimizer_settings import Muon
from qwen7b.train.pretraining import open_data
from qwen7b.train.recipe import Corpus, PretrainRecipe, Shape, Training, Validation
from qwen7b.train.recipe_file import read_recipe, recipe_text
from qwen7b.train.report import RunHistory, read_run
from qwen7b.train.run_log import read_log
from qwen7b.train.schedule import WarmupStableDecay

LOOKS, COMPRESSED = 10, 4
"""How often both are looked at, and at how many of these times compressors run."""
SPARE = 0.93
"""The share of the steps that the pace allows which ours makes, so that it ends in time."""
PROMPTS = ("def read(self, ", "To open the file, ", "要打开文件，", "春風")
SHAPE = Shape(hidden_size=256, num_layers=6, num_heads=4, feed_forward_size=680, family="qwen2", tied_head=True)
RECIPE = PretrainRecipe(
    model=SHAPE,
    corpus=Corpus(tokenizer="tokenizer.json", shards=("shards",), length=256, rows=16, micro_rows=16),
    training=Training(
        steps=1 << 30,
        save_every=1 << 30,
        optimizer=Muon(learning_rate=4e-3, weight_decay=0.1),
        schedule=WarmupStableDecay(decay_fraction=0.4),
    ),
    validation=Validation(shards="held-out", every=1 << 30, max_tokens=200_000, prompts=PROMPTS, sample_tokens=40),
)
NANOGPT = {"learning_rate": 2e-3, "beta2": 0.99}
"""What differs from its defaults; the second is what it sets for its own small model."""
_WARM_UP = 3

Curve = Mapping[float, float]
"""By minute, bits a byte."""


def start(command: Sequence[str | Path], *, cores: Sequence[int], work: Path) -> subprocess.Popen[bytes]:
    """Start a program on cores of its own, in a session of its own: Linux may share processors out by session."""
    pinned = ["taskset", "--cpu-list", ",".join(map(str, cores)), *map(str, command)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(len(cores))}
    return subprocess.Popen(pinned, cwd=work, env=environment, stdout=sys.stderr, start_new_session=True)


def pretraining(recipe: PretrainRecipe, name: str, work: Path) -> list[str | Path]:
    """The command that trains by a recipe, in a new run's folder."""
    shutil.rmtree(work / name, ignore_errors=True)
    (work / f"{name}.toml").write_text(recipe_text(recipe), encoding="utf-8")
    return [sys.executable, "-m", "qwen7b", "train", "pretrain", f"{name}.toml", "--out", name]


def measure_pace(work: Path, *, cores: Sequence[int], seconds: float) -> tuple[float, Any]:
    """The seconds of a step, and the number format that the probe chose; measured once in a folder."""
    log = work / "pace" / "speed.jsonl"
    if sum(times_of_steps(log)) < seconds:
        process = start(pretraining(RECIPE, "pace", work), cores=cores, work=work)
        while sum(times_of_steps(log)) < seconds:
            time.sleep(1)
            if process.poll() is not None:
                raise SystemExit(f"the run ended by itself with {process.returncode}")
        process.terminate()
        process.wait()
    return fmean(times_of_steps(log)), read_recipe(work / "pace" / "recipe.toml", PretrainRecipe).training.precision


def times_of_steps(log: Path) -> list[float]:
    """The seconds of each step but the first ones, which are not typical."""
    return [entry["seconds"] for entry in read_log(log)][_WARM_UP:]


def nanogpt(clone: Path, work: Path, *, minutes: float, threads: int) -> list[str | Path]:
    """The command that trains nanoGPT on the same as the recipe `run.toml`, and logs its looks in nanogpt.jsonl."""
    data = open_data(work / "run.toml")
    recipe, held_out = data.recipe, data.held_out
    assert held_out is not None
    (work / "nanogpt.jsonl").unlink(missing_ok=True)
    for source, target in (("shards", "train.bin"), ("held-out", "held-out.bin")):
        stream = np.concatenate([*Shards([work / source], tokenizer=data.tokenizer).documents()])
        kept = stream[: recipe.validation.max_tokens] if source == "held-out" else stream
        kept.astype(np.uint16).tofile(work / target)
    task = {
        "file": str(clone.resolve()),
        "out": str(work / "nanogpt-out"),
        "tokens": str(work / "train.bin"),
        "held_out": str(work / "held-out.bin"),
        "held_out_bytes": len(held_out.text),
        "log": str(work / "nanogpt.jsonl"),
        "looks": LOOKS,
        "minutes": minutes,
        "threads": threads,
        "vocabulary": TOKENS,
        "layers": recipe.model.num_layers,
        "heads": recipe.model.num_heads,
        "width": recipe.model.hidden_size,
        "length": recipe.corpus.length,
        "rows": recipe.corpus.rows,
        "precision": recipe.training.precision,
        **NANOGPT,
    }
    return [sys.executable, Path(__file__).parent / "contestants" / "learn_nanogpt.py", json.dumps(task)]


def minutes_by_step(history: RunHistory) -> dict[int, float]:
    """The minutes of training until the end of each step."""
    seconds = {entry["step"]: entry["seconds"] for entry in history.speeds}
    return {step: total / 60 for step, total in zip(seconds, accumulate(seconds.values()), strict=True)}


def until(curve: Curve, minute: float, *, slack: float) -> float | None:
    """The last value of a curve until a minute; looks come after whole steps, so that a little more is allowed.

    >>> until({1.0: 4.0, 2.1: 3.0, 3.0: 2.5}, 2, slack=0.1)
    3.0
    """
    values = [value for at, value in curve.items() if at <= minute + slack]
    return values[-1] if values else None


def crossing(ours: Curve, theirs: Curve) -> float | None:
    """The first minute at which ours is below, and remains so: a compressor is as good as at its next measured time.

    >>> crossing({1.0: 4.0, 2.0: 3.0, 3.0: 2.5}, {1.0: 3.3, 3.0: 2.9})
    3.0
    """
    found = None
    for at, value in ours.items():
        if value >= next(their for their_at, their in theirs.items() if their_at >= at):
            found = None
        elif found is None:
            found = at
    return found


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    work, minutes = arguments.work.resolve(), arguments.minutes
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 * arguments.threads:
        raise SystemExit(f"two programs of {arguments.threads} threads need as many cores each, found {len(cores)}")
    own, other = cores[: arguments.threads], cores[arguments.threads : 2 * arguments.threads]
    prepare_corpus(arguments.texts, work)
    pace, precision = measure_pace(work, cores=own, seconds=min(60, 10 * minutes))
    steps = round(SPARE * 60 * minutes / pace)
    recipe = replace(
        RECIPE,
        training=replace(
            RECIPE.training,
            steps=steps,
            precision=precision,
            schedule=replace(RECIPE.training.schedule, warmup_steps=round(0.02 * steps)),
        ),
        validation=replace(RECIPE.validation, every=-(-steps // LOOKS)),
    )
    command = pretraining(recipe, "run", work)
    theirs = nanogpt(arguments.nanogpt, work, minutes=minutes, threads=arguments.threads)
    both = start(command, cores=own, work=work), start(theirs, cores=other, work=work)
    try:
        codes = [process.wait() for process in both]
    finally:
        for process in both:  # a session of its own hears no Ctrl-C
            process.terminate()
    if any(codes):
        raise SystemExit("one of the two ended by itself")
    return results(work, minutes=minutes)


def results(work: Path, *, minutes: float) -> dict[str, Any]:
    """What both learned, from their logs, beside what compressors take."""
    history = read_run(work / "run")
    at = minutes_by_step(history)
    shown = json.loads(printed("train", "report", work / "run", "--compressors", str(COMPRESSED), "--json"))
    curves: dict[str, dict[float, float]] = {"qwen7b": {}, "nanoGPT": {}}
    for entry in history.looks:
        curves["qwen7b"][at[entry["step"]]] = entry["bits_per_byte"]
    nanogpt_looks = [*read_log(work / "nanogpt.jsonl")]
    for entry in nanogpt_looks:
        curves["nanoGPT"][entry["minutes"]] = entry["bits_per_byte"]
    for step, compressed in shown["compressors"].items():
        for name, bits in compressed.items():
            curves.setdefault(name, {})[at[int(step)]] = bits
    apart = minutes / LOOKS
    grid = [apart * (number + 1) for number in range(LOOKS)]
    recipe = open_data(work / "run.toml").recipe
    config = recipe.model.config(vocab_size=TOKENS, length=recipe.corpus.length)
    tokens = recipe.corpus.rows * recipe.corpus.length
    return {
        "weights": count_weights(parameter_shapes(config)),
        "precision": recipe.training.precision,
        "tokens_read": {"qwen7b": history.tokens, "nanoGPT": nanogpt_looks[-1]["step"] * tokens},
        "table": [
            {"minute": each} | {name: until(curve, each, slack=apart / 20) for name, curve in curves.items()}
            for each in grid
        ],
        "last": {name: [*curve.items()][-1] for name, curve in curves.items()},
        "crossed": {name: crossing(curves["qwen7b"], curve) for name, curve in curves.items() if name in COMPRESSORS},
        "samples": history.looks[-1]["samples"],
    }


def print_table(found: Mapping[str, Any]) -> None:
    names = [name for name in found["table"][0] if name != "minute"]
    print("minute  " + "  ".join(f"{name:>7}" for name in names))
    for row in found["table"]:
        cells = [f"{row[name]:7.3f}" if row[name] is not None else " " * 7 for name in names]
        print(f"{row['minute']:6.1f}  " + "  ".join(cells))
    print(json.dumps({name: value for name, value in found.items() if name != "table"}, indent=1, ensure_ascii=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True, help="a folder with a folder for each source of texts")
    parser.add_argument("--nanogpt", type=Path, required=True, help="a clone of nanoGPT")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--threads", type=int, default=1, help="of each of both")
    parser.add_argument("--work", type=Path, default=Path("learning"), help="the folder for corpus and runs")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    found = measure(arguments)
    if arguments.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print_table(found)


if __name__ == "__main__":
    main()
