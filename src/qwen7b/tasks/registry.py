"""All tasks by name. This file imports every task, and so is imported by what needs them alone."""

from __future__ import annotations

from qwen7b.tasks.bfcl import Bfcl
from qwen7b.tasks.ceval import CEval
from qwen7b.tasks.cmmlu import Cmmlu
from qwen7b.tasks.gsm8k import Gsm8k
from qwen7b.tasks.hf_agent import HfAgent
from qwen7b.tasks.humaneval import HumanEval
from qwen7b.tasks.mmlu import Mmlu
from qwen7b.tasks.plugin import Plugin
from qwen7b.tasks.task import Task
from qwen7b.tasks.wmt22 import DIRECTIONS

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        *(Mmlu(), CEval(), Cmmlu(), Gsm8k(), HumanEval()),
        *(direction() for direction in DIRECTIONS.values()),
        *(Plugin(), HfAgent(), Bfcl()),
    )
}
