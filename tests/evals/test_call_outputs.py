"""Calls of tools: each item is offered its own, calls are recorded as they were written, and a checker judges them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qwen7b import Qwen
from qwen7b.errors import PromptError, SettingError
from qwen7b.evals import evaluate
from qwen7b.evals.call_outputs import call_outputs
from qwen7b.evals.output_reader import OutputReader
from qwen7b.tasks.bfcl import USUAL, Bfcl
from qwen7b.tasks.item import Calls, Item
from qwen7b.tasks.procedure import TaskPlan
from tiny_bfcl import write_bfcl

pytest.importorskip("llguidance", reason="constrained calls need the extra tools")


def judged(folder: Path, item: Item, *calls: tuple[str, object]) -> tuple[bool | None, str]:
    plan = Bfcl().completed(TaskPlan())
    output = json.dumps([{"name": name, "arguments": arguments} for name, arguments in calls])
    with OutputReader(Bfcl(), plan, None, folder) as reader:  # type: ignore[arg-type]  # no text is tokenized
        first, again = reader.read(item, output), reader.read(item, output)
    assert first == again
    return first.correct, first.error


@pytest.fixture
def item(tmp_path: Path) -> Item:
    return Bfcl().items(write_bfcl(tmp_path), Bfcl().completed(TaskPlan()))[0]


def test_the_checker_judges_in_a_process_of_its_own(tmp_path: Path, item: Item) -> None:
    assert judged(tmp_path, item, ("math.add", {"numbers": [2, 3]})) == (True, "")
    assert judged(tmp_path, item, ("math.add", {"numbers": [3]})) == (False, "[\"expected {'numbers': [2, 3]}\"]")


def test_a_checker_that_stops_at_a_reply_finds_it_wrong(tmp_path: Path, item: Item) -> None:
    path = tmp_path / "bfcl_eval" / "eval_checker" / "ast_eval" / "ast_checker.py"
    path.write_text("def ast_checker(*told):\n    raise KeyError('odd')\n", "utf-8")
    right, error = judged(tmp_path, item, ("math.add", {"numbers": [2, 3]}))
    assert right is False and error == "the checker stops: KeyError: 'odd'"


def test_a_checker_that_says_something_else_is_an_error(tmp_path: Path, item: Item) -> None:
    path = tmp_path / "bfcl_eval" / "eval_checker" / "ast_eval" / "ast_checker.py"
    path.write_text("print('hello')\n", "utf-8")
    with pytest.raises(SettingError, match="does not run, and says: hello"):
        judged(tmp_path, item, ("math.add", {"numbers": [2, 3]}))


def test_a_checker_that_does_not_run_is_an_error(tmp_path: Path, item: Item) -> None:
    path = tmp_path / "bfcl_eval" / "eval_checker" / "ast_eval" / "ast_checker.py"
    path.write_text("import nothing_like_it\n", "utf-8")
    with pytest.raises(SettingError, match=r"checker of bfcl in .* does not run, and says: Module.*like_it"):
        judged(tmp_path, item, ("math.add", {"numbers": [2, 3]}))


@pytest.mark.parametrize("is_constrained", [True, False])
def test_an_evaluation_records_calls_and_scores_categories(qwen: Qwen, tmp_path: Path, is_constrained: bool) -> None:
    task, out = Bfcl(dialect="react-api", is_constrained=is_constrained), tmp_path / "out"
    result = evaluate(qwen, task, write_bfcl(tmp_path), TaskPlan(), out=out)
    assert result.groups.keys() == set(USUAL) and result.items == 5
    assert result.signature["dialect"] == "react-api" and result.signature["constrained"] is is_constrained
    records = [json.loads(line) for line in (out / "bfcl.jsonl").read_text("utf-8").splitlines()]
    for record in records:
        calls = json.loads(record["output"])
        assert isinstance(record["reply"], str) and (calls == []) == (record["predicted"] == "no call")
        assert json.loads(record["tools"])[0]["function"]["name"] == "math.add"
        assert record["correct"] is (record["subject"] == "irrelevance") or calls
    again = evaluate(qwen, task, tmp_path, TaskPlan(), out=out, resume=True)
    assert again.score == result.score
    other = Bfcl(dialect="react-api", is_constrained=not is_constrained)
    with pytest.raises(SettingError, match="of a run with another constrained"):
        evaluate(qwen, other, tmp_path, TaskPlan(), out=out, resume=True)


def test_every_item_gets_the_reply_that_a_chat_gives(qwen: Qwen, item: Item) -> None:
    wanted = Calls(max_new_tokens=24, dialect="tool_call", is_constrained=False)
    (pair,) = call_outputs(qwen, [item], wanted)
    settings: Any = {"tools": json.loads(item.tools), "dialect": "tool_call", "constrain_calls": False}
    reply = qwen.chat(item.messages, temperature=0, max_new_tokens=24, **settings)
    assert pair[0] is item and pair[1].reply == qwen.tokenizer.decode(reply.token_ids)
    assert pair[1].prompt_tokens == reply.usage.prompt_tokens and pair[1].finish_reason == reply.finish_reason


def test_a_prompt_without_room_is_named_before_the_first_reply(qwen: Qwen, item: Item) -> None:
    with pytest.raises(PromptError, match=r"simple_python_0 has a prompt of \d+ tokens, .*--context-length"):
        next(call_outputs(qwen, [item], Calls(max_new_tokens=qwen.context_length)))
