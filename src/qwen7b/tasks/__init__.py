"""Benchmarks: official files become items, an item becomes its prompt, a reply becomes what it answers.

The room knows no model and no tokenizer: what runs a task on a model is `qwen7b.evals`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen7b.system.importing import imported_when_used

if TYPE_CHECKING:
    from qwen7b.tasks.item import Item
    from qwen7b.tasks.procedure import Procedure, TaskPlan
    from qwen7b.tasks.registry import TASKS
    from qwen7b.tasks.task import Task

__all__ = ["TASKS", "Item", "Procedure", "Task", "TaskPlan"]

_MODULES = {"TASKS": "registry", "Item": "item", "TaskPlan": "procedure", "Procedure": "procedure", "Task": "task"}

__getattr__ = imported_when_used(__name__, _MODULES)
