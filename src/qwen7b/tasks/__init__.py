"""Benchmarks: official files become items, an item becomes its prompt, a reply becomes what it answers.

The room knows no model and no tokenizer: what runs a task on a model is `qwen7b.evals`.
"""

from qwen7b.tasks.ceval import CEval
from qwen7b.tasks.cmmlu import Cmmlu
from qwen7b.tasks.gsm8k import Gsm8k
from qwen7b.tasks.humaneval import HumanEval
from qwen7b.tasks.item import Item
from qwen7b.tasks.mmlu import Mmlu
from qwen7b.tasks.procedure import Plan, Procedure
from qwen7b.tasks.task import Task
from qwen7b.tasks.wmt22 import Wmt22ChineseEnglish, Wmt22EnglishChinese

TASKS: dict[str, Task] = {
    task.name: task
    for task in (Mmlu(), CEval(), Cmmlu(), Gsm8k(), HumanEval(), Wmt22EnglishChinese(), Wmt22ChineseEnglish())
}
"""All tasks by name."""

__all__ = ["TASKS", "Item", "Plan", "Procedure", "Task"]
