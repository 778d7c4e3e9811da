"""Code of agents in the sandbox: what it comes to, and what an endless one is worth."""

from __future__ import annotations

import pytest

from qwen7b.evals.programs import run_program
from qwen7b.tasks.hf_agent import CODE, OWN_FOLDER, HfAgent
from qwen7b.tasks.item import Item
from qwen7b.tasks.procedure import TaskPlan


@pytest.mark.parametrize(("code", "score"), [("shortener(text)", 1), ("{'a': shortener(text), 'b': 2}", 0.75)])
def test_code_comes_to_its_value_in_the_sandbox(any_protection: None, code: str, score: float) -> None:
    assert score_in_sandbox(f" tools: `shortener`.\nAnswer:\n{code}") == score


def test_code_that_takes_all_memory_is_stopped(any_protection: None) -> None:
    code = "x = 'x'\nfor i in range(100):\n    x = f'{x}{x}'\nshortener(text)"
    assert score_in_sandbox(f" tools: `shortener`.\nAnswer:\n{code}") == 0.3


def score_in_sandbox(reply: str) -> float:
    task = HfAgent()
    plan = task.completed(TaskPlan())
    item: Item = task.items(OWN_FOLDER, plan)[0]
    reading = task.read(item, reply, plan)
    assert reading.program is not None
    outcome = run_program(reading.program, allow_unprotected=False)
    return task.decide(item, reply, plan, reading, passed=outcome.passed, printed=outcome.stdout).scores[CODE]
