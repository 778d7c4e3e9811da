"""`qwen7b eval all`: several tasks by one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qwen7b.cli.evaluate_code import AllowCode, Unprotected
from qwen7b.cli.evaluate_results import print_score, report_on, shown
from qwen7b.cli.evaluate_tasks import Chosen, answer_items, check_task
from qwen7b.cli.measuring import parse_names
from qwen7b.errors import MissingExtraError, PromptError, SandboxError, SettingError
from qwen7b.terminal.streams import print_json

if TYPE_CHECKING:
    from qwen7b.evals import Evaluation
    from qwen7b.tasks import Task, TaskPlan

Tasks = Annotated[
    str | None, typer.Option("--tasks", metavar="LIST", help="Only these: a,b,c; by default all with a folder.")
]
OF_ONE_TASK = ("shots", "split", "subjects", "dry_run")
"""Options that several tasks cannot have together."""
_FAILURES = (SettingError, PromptError, MissingExtraError, SandboxError)
"""Errors that leave the other tasks as they are."""


def run_all(
    chosen: Chosen, tasks: Tasks = None, allow_code: AllowCode = False, unprotected: Unprotected = False
) -> None:
    """Run several tasks, one after the other.

    The folder has one for each task: mmlu, ceval, cmmlu, gsm8k, humaneval, plugin, and wmt22 for both directions. The
    model is loaded once. A task whose files are missing or damaged is reported, the others go on, and the exit code is
    1.
    """
    chosen = replace(chosen, allow_code=allow_code, allow_unprotected=unprotected)
    results, failed = run_tasks(choose_tasks(chosen.data, tasks), chosen)
    if chosen.as_json:
        print_json([asdict(result) for result in results])
    elif results:
        typer.echo(f"\n{closing_table(results)}")
    if chosen.out is not None and results:
        report_on(chosen.out, as_json=chosen.as_json)
    if failed:
        raise typer.Exit(1)


def choose_tasks(data: Path | None, names: str | None) -> list[tuple[Task, Path]]:
    """The tasks to run, each with its folder: those named, or all whose folder is there."""
    from qwen7b.tasks import TASKS

    if names is not None:
        wanted = parse_names("--tasks", names, known=tuple(TASKS))
        return [(TASKS[name], _folder(TASKS[name], data)) for name in wanted]
    found = [(task, folder) for task in TASKS.values() if (folder := _folder(task, data)).is_dir()]
    if not found:
        where = _folder(TASKS["mmlu"], data).parent
        raise SettingError(f"{where} has no folder of a task, such as mmlu: name another by --data, or fetch tasks")
    return found


def _folder(task: Task, data: Path | None) -> Path:
    return task.default_folder() if data is None else data / task.folder_name()


def run_tasks(tasks: Sequence[tuple[Task, Path]], chosen: Chosen) -> tuple[list[Evaluation], int]:
    """The results, each printed as it comes unless JSON is wanted, and the number of tasks that failed."""
    ready: list[tuple[Task, TaskPlan, Chosen]] = []
    results: list[Evaluation] = []
    failed = 0
    for task, folder in tasks:
        own = replace(chosen, data=folder)
        try:
            ready.append((task, check_task(task, own), own))
        except _FAILURES as error:
            failed += _say_failure(task, error)
    qwen = chosen.loading.load() if ready else None
    for task, plan, own in ready:
        assert qwen is not None
        try:
            results.append(answer_items(qwen, task, plan, own))
        except _FAILURES as error:
            failed += _say_failure(task, error)
            continue
        if not chosen.as_json:
            print_score(results[-1], out=chosen.out)
    return results, failed


def _say_failure(task: Task, error: Exception) -> int:
    typer.echo(f"error: {task.name}: {error}", err=True)
    return 1


def closing_table(results: Sequence[Evaluation]) -> str:
    """A line for each task."""
    rows = [("task", "procedure", "split", "shots", "items", "score")]
    rows += [
        (
            result.task,
            result.procedure,
            result.split,
            str(result.signature["shots"]),
            f"{result.items:,}",
            shown(result.score, result.interval),
        )
        for result in results
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
