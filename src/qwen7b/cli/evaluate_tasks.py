"""`qwen7b eval TASK`: a benchmark's official files, answered by a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qwen7b.cli import options
from qwen7b.cli.evaluate_results import print_prompts, print_score, report_on
from qwen7b.cli.examples import examples
from qwen7b.cli.loading_options import Loading, plain_loading
from qwen7b.cli.measuring import parse_names
from qwen7b.cli.option_groups import expand, without
from qwen7b.errors import SettingError
from qwen7b.tasks.procedure import Procedure, TaskPlan
from qwen7b.terminal.streams import print_json

if TYPE_CHECKING:
    from qwen7b import Qwen
    from qwen7b.evals import Evaluation
    from qwen7b.tasks import Task

Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="The folder with the official files; by default where --fetch puts them."
    ),
]
TheProcedure = Annotated[
    Procedure, typer.Option("--procedure", help="How it is done: as the original's scripts did, or as lm-eval does.")
]
Shots = Annotated[
    int | None, typer.Option("--shots", metavar="N", help="Solved examples before each question; by default the usual.")
]
Split = Annotated[str | None, typer.Option("--split", help="The part of the benchmark; by default the usual one.")]
Subjects = Annotated[str | None, typer.Option("--subjects", metavar="LIST", help="Only these subjects: a,b,c.")]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N items of each subject.")
]
Chat = Annotated[bool, typer.Option("--chat", help="Ask as a user does in a chat; by default the text is continued.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Write every answer to DIR/TASK.jsonl, and the score beside it."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Keep the answers that are in --out already.")]
Submission = Annotated[
    Path | None,
    typer.Option(
        "--submission", metavar="FILE", help="Answer the test split, and write what C-Eval's site takes: a .json."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the prompts, and load no model.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """What all tasks are told: which items, how they are asked, and of which model."""

    data: Path | None
    plan: TaskPlan
    loading: Loading
    out: Path | None
    resume: bool
    dry_run: bool
    as_json: bool
    submission: Path | None = None
    allow_code: bool = False
    allow_unprotected: bool = False

    def folder(self, task: Task) -> Path:
        """The folder with the official files of a task."""
        return task.default_folder() if self.data is None else self.data


@expand(loading=plain_loading)
def choose(
    *,
    data: Data = None,
    procedure: TheProcedure = Procedure.STANDARD,
    chat: Chat = False,
    shots: Shots = None,
    split: Split = None,
    subjects: Subjects = None,
    limit: Limit = None,
    out: Out = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    loading: Loading,
    as_json: options.Json = False,
) -> Chosen:
    """The options that all tasks have."""
    plan = TaskPlan(
        procedure=procedure,
        chat=chat,
        shots=shots,
        split=split,
        subjects=None if subjects is None else tuple(parse_names("--subjects", subjects)),
        limit=limit,
    )
    if resume and out is None:
        raise SettingError("--resume keeps the answers that are in --out already: give that too")
    return Chosen(data=data, plan=plan, loading=loading, out=out, resume=resume, dry_run=dry_run, as_json=as_json)


def mmlu(chosen: Chosen) -> None:
    """Answer MMLU's questions: 57 subjects in English.

    The folder has dev/SUBJECT_dev.csv and test/SUBJECT_test.csv. The score is the share of right answers. Without
    --chat, or by the standard procedure, that answer counts whose letter the model thinks the likeliest after the
    question; else a letter is read out of the reply.
    """
    run_named("mmlu", chosen)


def ceval(chosen: Chosen, submission: Submission = None) -> None:
    """Answer C-Eval's questions: 52 subjects in Chinese.

    The folder has dev/SUBJECT_dev.csv and val/SUBJECT_val.csv. By the original's procedures the score is the mean over
    subjects. The answers of the test split are not public: C-Eval's site scores what --submission writes.
    """
    if submission is not None:
        plan = chosen.plan if chosen.plan.split else replace(chosen.plan, split="test")
        chosen = replace(chosen, plan=plan, submission=submission)
    run_named("ceval", chosen)


def cmmlu(chosen: Chosen) -> None:
    """Answer CMMLU's questions: 67 subjects in Chinese.

    The folder has dev/SUBJECT.csv and test/SUBJECT.csv. By the original's procedures the score is the mean over
    subjects.
    """
    run_named("cmmlu", chosen)


def gsm8k(chosen: Chosen) -> None:
    """Solve GSM8K's word problems of school arithmetic.

    The folder has test.jsonl and train.jsonl, out of which the examples come. The score is the share of replies whose
    number is right: the last run of digits, where the original's scripts continue a text (of 1,080 that is 080); by
    their procedure 2023-12 with --chat a number with sign, commas and decimals; by the standard procedure what
    follows "####", with the score of the last number beside it. With --chat the original's procedures show no examples,
    or 4 with --shots 4.
    """
    run_named("gsm8k", chosen)


def add_tasks(evaluate: typer.Typer, *verbs: Callable[..., None], but: Sequence[str] = ()) -> None:
    """Give `eval` a verb for each task, without the common options that `but` names."""
    for verb in verbs:
        name = verb.__name__.replace("_", "-")
        evaluate.command(name, epilog=examples(name))(expand(chosen=without(choose, *but))(verb))


def run_named(name: str, chosen: Chosen) -> None:
    """Run a task that has no settings of its own."""
    from qwen7b.tasks import TASKS

    run_task(TASKS[name], chosen)


def run_task(task: Task, chosen: Chosen) -> None:
    """Run one task, and print its score; or print its prompts."""
    if chosen.dry_run:
        items = task.found_items(chosen.folder(task), task.completed(chosen.plan))
        print_prompts(items, as_json=chosen.as_json)
        return
    plan = check_task(task, chosen)
    result = answer_items(chosen.loading.load(), task, plan, chosen)
    if chosen.as_json:
        print_json(asdict(result))
    else:
        print_score(result, out=chosen.out)
    if chosen.out is not None:
        report_on(chosen.out, as_json=chosen.as_json)


def check_task(task: Task, chosen: Chosen) -> TaskPlan:
    """The completed plan. Raises Qwen7bError, before a model is loaded, for all that can be known to be wrong."""
    from qwen7b.evals.preparation import prepared

    plan, _ = prepared(
        task,
        chosen.folder(task),
        chosen.plan,
        submission=chosen.submission,
        allow_code=chosen.allow_code,
        allow_unprotected=chosen.allow_unprotected,
    )
    return plan


def answer_items(qwen: Qwen, task: Task, plan: TaskPlan, chosen: Chosen) -> Evaluation:
    """Have a model answer a task's items, as chosen."""
    from qwen7b.evals import evaluate

    return evaluate(
        qwen,
        task,
        chosen.folder(task),
        plan,
        out=chosen.out,
        resume=chosen.resume,
        submission=chosen.submission,
        allow_code=chosen.allow_code,
        allow_unprotected=chosen.allow_unprotected,
    )
