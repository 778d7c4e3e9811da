"""What is known of an evaluation before there is a model: its items, and what is wrong with it. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from qwen7b.errors import SandboxError, SettingError
from qwen7b.evals.submission import check_submission
from qwen7b.sandbox import find_protection
from qwen7b.sandbox.running import OR_UNPROTECTED
from qwen7b.tasks.item import Item
from qwen7b.tasks.procedure import TaskPlan
from qwen7b.tasks.task import Task


def prepared(
    task: Task,
    folder: Path,
    plan: TaskPlan,
    *,
    submission: Path | None = None,
    allow_code: bool = False,
    allow_unprotected: bool = False,
) -> tuple[TaskPlan, list[Item]]:
    """The completed plan, and the items. Raises what `evaluate` raises, as far as it is known without a model."""
    plan = task.completed(plan)
    if submission is not None:
        check_submission(task, plan, submission)
    task.check_libraries(plan)
    items = task.found_items(folder, plan)
    check_permission(task, allow_code=allow_code, allow_unprotected=allow_unprotected)
    return plan, items


def check_permission(task: Task, *, allow_code: bool, allow_unprotected: bool) -> None:
    """Raise SettingError where a task would run code unasked, and SandboxError where nothing protects from it."""
    if not task.runs_code:
        return
    if not allow_code:
        raise SettingError(
            f"{task.name} runs code that the model writes: read what the sandbox stops and what it does not, and allow "
            "it (--allow-code)"
        )
    if not allow_unprotected:
        try:
            find_protection()
        except SandboxError as error:
            raise SandboxError(f"{error}{OR_UNPROTECTED}") from error
