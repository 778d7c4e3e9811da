"""The demo model, for real: it calls a function, and answers with its result; the same when it is replayed."""

from __future__ import annotations

from pathlib import Path

import pytest

import qwen7b
from qwen7b.tools import Agent, Replay

pytestmark = pytest.mark.demo


def multiply(a: int, b: int) -> int:
    """Multiply two numbers.

    Args:
        a: the first number
        b: the second number
    """
    return a * b


def test_a_function_is_called_and_its_result_is_the_answer(demo_gguf: Path, tmp_path: Path) -> None:
    qwen = qwen7b.load(demo_gguf, dialect="react-api")
    settings = {"temperature": 0, "max_new_tokens": 100, "max_steps": 4}
    question, path = "What is 1234 times 5678?", tmp_path / "run.jsonl"
    run = Agent(qwen, [multiply], transcript=path, **settings).run(question)  # type: ignore[arg-type]
    assert run.outcome == "answered" and "7006652" in run.text
    assert [(result.call.name, result.text) for result in run.results] == [("multiply", "7006652")]
    assert Agent(qwen, [Replay(path)], **settings).run(question).messages == run.messages  # type: ignore[arg-type]
