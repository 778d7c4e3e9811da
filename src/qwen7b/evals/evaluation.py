"""Evaluation: a model answers a task's items, and each answer is recorded and scored."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qwen7b.errors import SettingError, counted
from qwen7b.evals.call_outputs import call_outputs
from qwen7b.evals.output_reader import OutputReader
from qwen7b.evals.outputs import Output, likeliest, outputs
from qwen7b.evals.preparation import prepared
from qwen7b.evals.programs import judged
from qwen7b.evals.records import Records
from qwen7b.evals.signature import signature
from qwen7b.evals.submission import write_submission
from qwen7b.generate import Qwen
from qwen7b.sandbox import ProgramOutcome
from qwen7b.system.memory import peak_bytes
from qwen7b.system.progress import progress, say
from qwen7b.tasks.choice import LETTERS
from qwen7b.tasks.item import Calls, Item, Letters, Outcome, Reading, Text
from qwen7b.tasks.procedure import TaskPlan
from qwen7b.tasks.task import Task

_MAX_ERROR = 500
"""How much of a program's messages a record keeps, from their end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What the answers took, without those that were there from an unfinished run."""

    seconds: float
    tokens: int
    """Those of the prompts and outputs together, though what prompts have in common is read once."""
    peak_memory_bytes: int
    """The peak memory of the whole process so far; on CUDA, of its tensors on the GPU."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The score of one run, with all that is needed to believe it."""

    task: str
    procedure: str
    split: str
    chat: bool
    score: float | None
    """In percent, or in BLEU; None where the answers are not public."""
    interval: tuple[float, float] | None
    items: int
    groups: dict[str, float | None]
    more: dict[str, float | None]
    abstained: int
    """How many outputs named no answer."""
    truncated: int
    ties: int
    remark: str
    """What must be known beside the score."""
    cost: Cost
    signature: dict[str, Any]


def evaluate(
    qwen: Qwen,
    task: Task,
    folder: Path,
    plan: TaskPlan,
    *,
    out: Path | None = None,
    resume: bool = False,
    submission: Path | None = None,
    allow_code: bool = False,
    allow_unprotected: bool = False,
) -> Evaluation:
    """Have a model answer a task's items, and score it.

    `folder` has the official files. With `out` every item's record is written to OUT/TASK.jsonl as it comes; with
    `resume` those that are there already are not answered again. `submission` is a file for the answers to questions
    whose right ones are not public. Raises PromptError for a file that is missing or damaged, and SettingError for a
    plan that the task does not have and for records of another run.

    Some tasks run what the model writes, and only with `allow_code`: in the sandbox, or with `allow_unprotected`
    without one, where this machine has none and SandboxError would be raised.
    """
    if resume and out is None:
        raise SettingError("there is nothing to resume without a folder of results: name it with out (--out)")
    plan, items = prepared(
        task, folder, plan, submission=submission, allow_code=allow_code, allow_unprotected=allow_unprotected
    )
    if plan.chat and not qwen.is_chat:
        warnings.warn(
            f"{qwen.name} was not trained to chat, as its files say: without chat (--chat) it may do better",
            stacklevel=2,
        )
    signed = signature(qwen, task, plan, items, folder=folder)
    with (
        Records(out, signed, resume=resume) as records,
        OutputReader(task, plan, qwen.tokenizer, folder) as reader,
    ):
        start = time.perf_counter()
        found = dict(records.earlier)
        _check_earlier(records, task, items, plan, reader.read)
        left = [item for item in items if item.id not in found]
        try:
            with (
                progress(_heading(task, len(left), len(items)), len(left), " items") as report,
                closing(_outputs(qwen, left, task, plan)) as news,
                closing(
                    judged(news, reader.read, task=task, plan=plan, allow_unprotected=allow_unprotected)
                ) as results,
            ):
                for item, output, reading, outcome in results:
                    record = make_record(item, output, reading, outcome)
                    records.add(record)
                    found[item.id] = record
                    report(1)
        except KeyboardInterrupt:
            if out is not None:
                say(
                    f"{len(found):,} of {counted(len(items), 'item')} are answered in {records.path}; the same command "
                    "with --resume goes on with the others."
                )
            raise
        answered = [found[item.id] for item in items]
        if not left and (earlier_cost := records.earlier_summary.get("cost")):
            cost = Cost(**earlier_cost)
        else:
            new = [found[item.id] for item in left]
            cost = Cost(
                seconds=time.perf_counter() - start,
                tokens=sum(record["prompt_tokens"] + record.get("completion_tokens", 0) for record in new),
                peak_memory_bytes=peak_bytes(qwen.model.device),
            )
        evaluation = summarized(task, plan, items, answered, signature=signed, cost=cost)
        records.write_summary(asdict(evaluation))
        if submission is not None:
            write_submission(task, submission, items, answered)
    return evaluation


def _outputs(
    qwen: Qwen, items: Sequence[Item], task: Task, plan: TaskPlan
) -> Generator[tuple[Item, Output], None, None]:
    wanted = task.wanted(plan)
    if isinstance(wanted, Calls):
        return call_outputs(qwen, items, wanted)
    return outputs(qwen, items, wanted, chat=plan.chat)


def _check_earlier(
    records: Records, task: Task, items: Sequence[Item], plan: TaskPlan, read: Callable[[Item, str], Reading]
) -> None:
    """Raise SettingError for a record that this run would not have written, with the output that it names."""
    asked = {item.id: item for item in items}
    for number, (name, record) in enumerate(records.earlier.items(), start=1):
        item = asked.get(name)
        is_ours = item is not None and record["prompt_hash"] == item.prompt_hash and record["answer"] == item.answer
        if is_ours and item is not None and not task.runs_code:
            output = _recorded_output(record, task.wanted(plan))
            reading = read(item, output)
            is_ours = (reading.predicted, reading.correct, reading.scores) == (
                *(record["predicted"], record["correct"]),
                record.get("scores", {}),
            )
        if not is_ours:
            raise SettingError(
                f"line {number} of {records.path} is not what this run writes of {name!r}: was it edited? Drop the "
                "line, or choose another folder"
            )


def _recorded_output(record: Mapping[str, Any], wanted: Letters | Text) -> str:
    """The text, or the letter that its log-probabilities make the likeliest; empty where there is neither."""
    if isinstance(wanted, Text):
        return str(record.get("output", ""))
    logprobs = record.get("logprobs", ())
    if len(logprobs) != len(LETTERS) or not math.isfinite(max(logprobs)):
        return ""
    return likeliest(logprobs, is_rounded=wanted.is_rounded)[0]


def _heading(task: Task, num_left: int, num_items: int) -> str:
    resumed = "" if num_left == num_items else f" of {num_items:,}"
    return f"{task.title}: {num_left:,}{resumed} {'item' if num_items == 1 else 'items'} to answer"


def make_record(item: Item, output: Output, reading: Reading, outcome: ProgramOutcome | None) -> dict[str, Any]:
    """An item's line in the file of results."""
    asked = {
        "id": item.id,
        "subject": item.subject,
        "row": item.row,
        "question_hash": item.question_hash,
        "prompt_hash": item.prompt_hash,
    }
    if output.logprobs:
        answered: dict[str, Any] = {
            "choices": [item.source[letter] for letter in LETTERS],
            "logprobs": list(output.logprobs),
        }
    else:
        answered = {
            "output": output.text,
            "finish_reason": output.finish_reason,
            "completion_tokens": output.completion_tokens,
        }
    if outcome is not None:
        answered |= {"outcome": outcome.status, "error": outcome.stderr[-_MAX_ERROR:], "seconds": outcome.seconds}
    if output.reply is not None:
        answered["reply"] = output.reply
    if reading.error:
        answered["error"] = reading.error[:_MAX_ERROR]
    if reading.scores:
        answered["scores"] = dict(reading.scores)
    return {
        **asked,
        **item.asked,
        **answered,
        "predicted": reading.predicted,
        "answer": item.answer,
        "correct": reading.correct,
        "guess": reading.is_guess,
        "margin": output.margin,
        "truncated": output.truncated,
        "tie": output.is_tie,
        "prompt_tokens": output.prompt_tokens,
    }


def summarized(
    task: Task,
    plan: TaskPlan,
    items: Sequence[Item],
    records: Sequence[Mapping[str, Any]],
    *,
    signature: Mapping[str, Any],
    cost: Cost,
) -> Evaluation:
    """The score of records, one for each item."""
    outcomes = [
        Outcome(
            item=item,
            output=record.get("output", record["predicted"]),
            reading=Reading(
                predicted=record["predicted"],
                correct=record["correct"],
                is_guess=record["guess"],
                scores=record.get("scores", {}),
            ),
        )
        for item, record in zip(items, records, strict=True)
    ]
    summary = task.summarize(outcomes, plan)
    return Evaluation(
        task=task.name,
        procedure=str(plan.procedure),
        split=str(plan.split),
        chat=plan.chat,
        score=summary.score,
        interval=summary.interval,
        items=len({(item.subject, item.row) for item in items}),
        groups=dict(summary.groups),
        more=dict(summary.more),
        abstained=sum(not record["predicted"] or record["guess"] for record in records),
        truncated=sum(record["truncated"] for record in records),
        ties=sum(record["tie"] for record in records),
        remark=" ".join(filter(None, (task.remark(plan), summary.remark))),
        cost=cost,
        signature=dict(signature),
    )
