"""Measures 5-shot MMLU by `qwen7b eval` against lm-eval with Transformers, in the same precision and in q8.

    python benchmarks/lm_eval_speed.py --data FOLDER [--subjects 3] [--limit 20] [--reference-items 3] [--dtype float32]
        [--threads 2] [--model demo] [--seed 13] [--work FOLDER] [--json]

FOLDER is MMLU's. Each subject is a round: lm-eval answers a few of its items, spread over them, then ours all up to the
limit, in the same precision and in q8, with an engine that knows nothing yet. Prints the medians over the rounds of the
seconds an item, and of their ratios in each round. lm-eval reads an item once for its four letters; ours also reads
once what the items of a subject have in common, which counts the more the more items there are.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch
from lm_eval_reference import chosen_subjects, converted, letter_requests, reference_model
from rows import Row, print_rows

import qwen7b
from qwen7b import kernels
from qwen7b.evals.outputs import outputs
from qwen7b.tasks import TASKS, Item, TaskPlan
from qwen7b.tasks.item import Letters

MMLU = TASKS["mmlu"]


def seconds_an_item(function: Callable[[Sequence[Item]], object], items: Sequence[Item]) -> float:
    start = time.perf_counter()
    function(items)
    return (time.perf_counter() - start) / len(items)


def measure(arguments: argparse.Namespace) -> dict[str, list[float]]:
    """The seconds an item of each way, by round."""
    plan = MMLU.completed(TaskPlan())
    subjects = chosen_subjects(MMLU, arguments.seed, arguments.subjects)
    models = {
        arguments.dtype: qwen7b.load(arguments.model, dtype=arguments.dtype),
        "q8": qwen7b.load(arguments.model, quantize="q8"),
    }
    reference = reference_model(converted(arguments.model, arguments.work), dtype=arguments.dtype)
    wanted = MMLU.wanted(plan)
    assert isinstance(wanted, Letters)

    def ask_reference(items: Sequence[Item]) -> None:
        reference.loglikelihood(letter_requests(items, wanted), disable_tqdm=True)

    print("measuring", file=sys.stderr, flush=True)
    found: dict[str, list[float]] = {"lm-eval": [], **{name: [] for name in models}}
    for subject in subjects:
        items = MMLU.items(arguments.data, MMLU.completed(TaskPlan(subjects=(subject,), limit=arguments.limit)))
        few = items[:: max(1, len(items) // arguments.reference_items)][: arguments.reference_items]
        found["lm-eval"].append(seconds_an_item(ask_reference, few))
        for name, qwen in models.items():
            fresh = copy.copy(qwen)  # with an engine of its own
            found[name].append(seconds_an_item(lambda items: list(outputs(fresh, items, wanted, chat=False)), items))  # noqa: B023
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--subjects", type=int, default=3)
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--reference-items", type=int, default=3)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--work", type=Path, default=Path("lm-eval-comparison"))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    kernels.set_num_threads(arguments.threads)
    found = measure(arguments)
    rows = []
    for name, goal in ((arguments.dtype, ">= 6"), ("q8", ">= 15")):
        ratios = [theirs / ours for theirs, ours in zip(found["lm-eval"], found[name], strict=True)]
        figures = {
            "lm_eval_seconds": round(median(found["lm-eval"]), 3),
            "our_seconds": round(median(found[name]), 3),
            "lowest": round(min(ratios), 1),
            "highest": round(max(ratios), 1),
            "load_average": round(os.getloadavg()[0], 1),
        }
        what = f"MMLU in {name}, of the speed of lm-eval with Transformers in {arguments.dtype}, {arguments.model}"
        rows.append(Row(what, median(ratios), goal, figures))
    print_rows(rows, as_json=arguments.json)


if __name__ == "__main__":
    main()
