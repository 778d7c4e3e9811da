"""Submissions: the answers to questions whose right ones are not public, as C-Eval's site takes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from qwen7b.errors import SettingError
from qwen7b.system.progress import say
from qwen7b.system.whole_file import write_text_whole
from qwen7b.tasks.choice import ChoiceTask
from qwen7b.tasks.item import Item
from qwen7b.tasks.procedure import TaskPlan
from qwen7b.tasks.task import Task


def check_submission(task: Task, plan: TaskPlan, path: Path) -> None:
    """Raise SettingError, before hours of work, where nothing can be submitted or the file cannot be written."""
    split = task.answerless_split if isinstance(task, ChoiceTask) else ""
    if not split:
        raise SettingError(f"{task.name} takes no submission: all its answers are public")
    if plan.split != split:
        raise SettingError(f"a submission of {task.name} answers the split {split}, found {plan.split}")
    if plan.limit is not None:
        raise SettingError(f"a submission of {task.name} has all questions, found the first {plan.limit}: drop limit")
    if path.is_dir() or not path.parent.is_dir():
        found = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise SettingError(f"the submission cannot be written to {path}: {found}")
    try:
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def write_submission(task: Task, path: Path, items: Sequence[Item], records: Sequence[Mapping[str, Any]]) -> None:
    """Write {subject: {id in the file: letter}} as one JSON object, whole or not at all."""
    answers: dict[str, dict[str, str]] = {}
    for item, record in zip(items, records, strict=True):
        answers.setdefault(item.subject, {})[item.source["id"]] = record["predicted"]
    try:
        write_text_whole(path, json.dumps(answers, ensure_ascii=False, indent=1) + "\n")
    except OSError as error:
        raise _unwritable(path, error) from error
    if isinstance(task, ChoiceTask) and (missing := len(task.subjects()) - len(answers)):
        say(f"{path} lacks {missing} of {task.title}'s {len(task.subjects())} subjects: its site takes them for wrong.")


def _unwritable(path: Path, error: OSError) -> SettingError:
    return SettingError(f"the submission cannot be written to {path}: {error.strerror or error}")
