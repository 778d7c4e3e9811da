"""Compares the answers of `qwen7b eval` with those of lm-eval with Transformers, on the same weights and prompts.

    python benchmarks/lm_eval_comparison.py --data FOLDER [--tasks mmlu,cmmlu,ceval] [--subjects 8] [--limit N]
        [--procedure standard] [--model demo] [--seed 13] [--work FOLDER] [--json]

FOLDER has a folder for each task. Of MMLU and CMMLU the seed chooses the subjects; of C-Eval all are taken. Both sides
compute in float32: ours in the model's own file, lm-eval on the checkpoint that `qwen7b convert --to qwen2` makes of
it, with a task of its own whose rows are our prompts. Answers are joined on the hashes of the prompts. Prints each item
whose answers differ, and fails where they differ though the likeliest letter is more than 0.05 nats above the next or,
in a text, though the first different token is. What is in --work is not computed again; its agreement.json is what has
been compared so far.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lm_eval.models.huggingface import HFLM  # type: ignore[import-untyped]
from lm_eval_reference import chosen_subjects, converted, reference_model, reference_samples, write_task

import qwen7b
from qwen7b.evals import evaluate
from qwen7b.results.reasons import NEAR_TIE
from qwen7b.tasks import TASKS, Item, Procedure, Task, TaskPlan
from qwen7b.tasks.item import Letters, Text

AT_A_TIME = 8
"""Items of a task that lm-eval answers before the next task's turn."""
WHOLE = "ceval"
"""The task of which all subjects are taken."""


@dataclass
class Agreement:
    """How far both sides agree on one task."""

    task: str
    procedure: str
    subjects: list[str]
    items: int
    compared: int = 0
    equal: int = 0
    near: int = 0
    """Items, among all, whose margin is at most NEAR_TIE."""
    cut: int = 0
    """Items left out, as our procedure cuts their prompts."""
    largest_difference: float = 0.0
    """Of two log-probabilities of the same letter, in nats."""
    correct: int = 0
    reference_correct: int = 0
    different: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return self.compared > 0 and all(item["margin"] <= NEAR_TIE for item in self.different)


def chosen_plan(task: Task, *, procedure: Procedure, subjects: int, limit: int | None, seed: int) -> TaskPlan:
    plan = task.completed(TaskPlan(procedure=procedure, limit=limit))
    if task.name == WHOLE or plan.subjects is None:
        return plan
    return task.completed(replace(plan, subjects=chosen_subjects(task, seed, subjects)))


@dataclass
class Side:
    """What our side answered to a task's items, and what is left to compare."""

    task: Task
    plan: TaskPlan
    records: dict[str, dict[str, Any]]
    left: list[Item]
    result: Agreement

    @property
    def wanted(self) -> Letters | Text:
        return self.task.wanted(self.plan)


def answer(qwen: qwen7b.Qwen, task: Task, plan: TaskPlan, *, data: Path, work: Path) -> Side:
    """Have our side answer. The items are mixed, so that the first ones compared are of all subjects."""
    key = hashlib.sha256(repr(plan).encode()).hexdigest()[:8]
    out = work / f"ours-{key}"
    evaluate(qwen, task, data, plan, out=out, resume=True)
    lines = (out / f"{task.name}.jsonl").read_text("utf-8").splitlines()
    records = {record["id"]: record for record in map(json.loads, lines)}
    items = task.items(data, plan)
    result = Agreement(task.name, str(plan.procedure), list(dict.fromkeys(item.subject for item in items)), len(items))
    return Side(task, plan, records, sorted(items, key=lambda item: item.row), result)


def compare_some(side: Side, count: int, *, model: HFLM, qwen: qwen7b.Qwen, work: Path) -> None:
    """Have lm-eval answer the next items, and compare."""
    chosen, side.left = side.left[:count], side.left[count:]
    name = f"{side.task.name}-{side.plan.procedure}"
    write_task(work / "tasks", name, chosen, side.wanted)
    samples = reference_samples(model, work / "tasks", name, kept=work / f"reference-{Path(qwen.name).name}")
    for item in chosen:
        add(side, item, samples[item.prompt_hash], qwen)


def add(side: Side, item: Item, sample: dict[str, Any], qwen: qwen7b.Qwen) -> None:
    """Compare one item's answers."""
    result, record = side.result, side.records[item.id]
    if record["truncated"]:
        result.cut += 1
        return
    result.compared += 1
    result.correct += bool(record["correct"])
    if isinstance(side.wanted, Text):
        own, other = record["output"], sample["resps"][0][0]
        margin = 0.0 if own == other else margin_where_different(qwen, record["prompt"], own, other)
    else:
        logprobs = [logprob for logprob, _ in sample["filtered_resps"]]
        pairs = [*zip(record["logprobs"], logprobs, strict=True)]
        result.largest_difference = max(result.largest_difference, *(abs(a - b) for a, b in pairs))
        own, other = ("ABCD"[values.index(max(values))] for values in (record["logprobs"], logprobs))
        first, second = sorted(logprobs, reverse=True)[:2]
        margin = first - second
        result.near += margin <= NEAR_TIE
    result.reference_correct += bool(side.task.read(item, other, side.plan).correct)
    if own == other:
        result.equal += 1
    else:
        result.different.append({"id": record["id"], "ours": own, "reference": other, "margin": margin})


def margin_where_different(qwen: qwen7b.Qwen, prompt: str, own: str, other: str) -> float:
    """How far apart the model thinks the first tokens in which two continuations differ, or the end of one of them."""
    encode = qwen.tokenizer.encode
    start = encode(prompt)
    ends = sorted(qwen.stop_ids)
    ids = [encode(own), encode(other)]
    common = next((n for n, (a, b) in enumerate(zip(*ids, strict=False)) if a != b), min(map(len, ids)))
    candidates = [own_ids[common : common + 1] or ends for own_ids in ids]
    scores = qwen.score([start + ids[0][:common]], [[[token] for tokens in candidates for token in tokens]])[0]
    logprobs = [score.logprob for score in scores]
    return abs(max(logprobs[: len(candidates[0])]) - max(logprobs[len(candidates[0]) :]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tasks", default="mmlu,cmmlu,ceval")
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--procedure", type=Procedure, default=Procedure.STANDARD)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--work", type=Path, default=Path("lm-eval-comparison"))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    qwen = qwen7b.load(arguments.model, dtype="float32")
    sides = []
    for task in map(TASKS.__getitem__, arguments.tasks.split(",")):
        plan = chosen_plan(
            task,
            procedure=arguments.procedure,
            subjects=arguments.subjects,
            limit=arguments.limit,
            seed=arguments.seed,
        )
        sides.append(answer(qwen, task, plan, data=arguments.data / task.name, work=arguments.work))
    model = reference_model(converted(arguments.model, arguments.work))
    while any(side.left for side in sides):
        for side in sides:
            compare_some(side, AT_A_TIME, model=model, qwen=qwen, work=arguments.work)
        found = [asdict(side.result) for side in sides]
        (arguments.work / "agreement.json").write_text(json.dumps(found, ensure_ascii=False, indent=1), "utf-8")
    results = [side.result for side in sides]
    for result in results:
        if not arguments.json:
            print(json.dumps(asdict(result), ensure_ascii=False))
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], ensure_ascii=False, indent=1))
    if not all(result.is_good for result in results):
        sys.exit("answers differ though they are not near")


if __name__ == "__main__":
    main()
