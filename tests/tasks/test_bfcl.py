"""BFCL: its files as they are, functions as tools, and what a reply's calls are worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qwen7b.dialects.definition import read_definitions
from qwen7b.errors import MissingExtraError, PromptError, SettingError
from qwen7b.tasks import bfcl
from qwen7b.tasks.bfcl import USUAL, Bfcl
from qwen7b.tasks.item import Calls, Item, Outcome, Reading
from qwen7b.tasks.procedure import Procedure, TaskPlan
from tiny_bfcl import ADD, ROW, write_bfcl

pytest.importorskip("llguidance", reason="constrained calls need the extra tools")
TASK = Bfcl()


def items(folder: Path, *categories: str, **settings: Any) -> list[Item]:
    plan = TaskPlan(subjects=categories or None, **settings)
    return TASK.found_items(folder, TASK.completed(plan))


def read(item: Item, *calls: tuple[str, object]) -> Reading:
    output = json.dumps([{"name": name, "arguments": arguments} for name, arguments in calls])
    return TASK.read(item, output, TASK.completed(TaskPlan()))


def test_questions_are_chats_with_functions_as_tools(tmp_path: Path) -> None:
    found = items(write_bfcl(tmp_path))
    assert [item.subject for item in found] == [*USUAL] and found[0].id == "simple_python_0"
    assert found[0].messages == [{"role": "user", "content": "What is 2 + 3?"}]
    (tool,) = json.loads(found[0].tools)
    assert tool["function"]["description"] == "Adds. Note that the provided function is in Python 3 syntax."
    assert tool["function"]["parameters"] == {
        "type": "object",
        "properties": {
            "numbers": {"type": "array", "items": {"type": "number"}},
            "type": {"type": "string", "default": "dict"},
            "more": {"type": "object", "properties": {"it": {"type": "string"}}},
        },
        "required": ["numbers"],
    }
    (definition,) = read_definitions([tool])
    assert definition.name == "math.add"
    plan = TASK.completed(TaskPlan())
    assert plan.chat and plan.subjects == USUAL and TASK.wanted(plan) == Calls(max_new_tokens=1024)
    free = Bfcl(dialect="react-api", is_constrained=False)
    assert free.wanted(plan) == Calls(max_new_tokens=1024, dialect="react-api", is_constrained=False)


def test_earlier_messages_of_real_users_stay(tmp_path: Path) -> None:
    said = [("system", "Be kind."), ("user", "Hi"), ("user", "2 + 3?")]
    row = ROW | {"question": [[{"role": role, "content": content} for role, content in said]]}
    (item,) = items(write_bfcl(tmp_path, live_simple=[row]), "live_simple")
    assert [(message["role"], message["content"]) for message in item.messages] == said
    assert item.asked["earlier"] == [["system", "Be kind."], ["user", "Hi"]]
    (other,) = items(write_bfcl(tmp_path, live_simple=[row | {"function": [ADD | {"name": "plus"}]}]), "live_simple")
    assert other.prompt_hash != item.prompt_hash


def test_calls_go_to_the_checker_and_their_absence_is_judged_here(tmp_path: Path) -> None:
    found = {item.subject: item for item in items(write_bfcl(tmp_path), *USUAL, "live_relevance")}
    reading = read(found["parallel"], ("math.add", {"numbers": [2, 3]}), ("math.add", {"numbers": [4]}))
    assert reading.correct is None and reading.predicted == "math.add(numbers=[2, 3]), math.add(numbers=[4])"
    assert reading.checked == {
        "functions": [ADD],
        "calls": [{"name": "math.add", "arguments": {"numbers": numbers}} for numbers in ([2, 3], [4])],
        "answers": ROW["ground_truth"],
        "category": "parallel",
    }
    for subject, is_right in (("irrelevance", False), ("live_relevance", True)):
        assert read(found[subject], ("math.add", {"numbers": [1]})).correct is is_right
        assert read(found[subject]).correct is not is_right
        assert read(found[subject], ("math.add", "{numbers")).correct is not is_right
    assert read(found["simple"]).error == "no call" and read(found["simple"]).correct is False
    part = read(found["parallel"], ("math.add", "{numbers"), ("math.add", {"numbers": [1]}))
    assert part.checked is not None and part.checked["calls"] == [{"name": "math.add", "arguments": {"numbers": [1]}}]
    assert part.predicted == "math.add({numbers), math.add(numbers=[1])"
    assert read(found["simple"], ("math.add", "[1]")).error == "arguments that are no JSON object"


def test_the_score_is_the_share_over_all_items_and_by_category(tmp_path: Path) -> None:
    found = items(write_bfcl(tmp_path))
    outcomes = [
        Outcome(item=item, output="[]", reading=Reading(predicted="", correct=item.subject != "parallel"))
        for item in found
    ]
    summary = TASK.summarize(outcomes, TASK.completed(TaskPlan()))
    assert summary.score == 80 and summary.groups == dict.fromkeys(USUAL, 100.0) | {"parallel": 0.0}
    assert summary.interval is not None and summary.interval[0] < 80 < summary.interval[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": 3}, r"simple_python\.json, line 1: the id should be a text"),
        ({"question": []}, r"the question should be one turn"),
        ({"question": [[{"role": "user"}]]}, r"a message should have a role and a content"),
        ({"question": [[{"role": "assistant", "content": "x"}]]}, r"the last message should be the user's"),
        ({"function": [ADD, ADD]}, r"line 1: 2 functions have the name 'math\.add'"),
        ({"function": [{}]}, r"a function should have a name"),
        ({"function": None}, r"a function should have a name"),
        ({"function": [{"name": "f"}]}, r"the function f should have a description and parameters"),
        ({"ground_truth": None}, r"there are no answers to 'simple_python_0' in .*possible_answer"),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        items(write_bfcl(tmp_path, simple=[ROW | {"id": "simple_python_0"} | changes]))


def test_what_is_missing_is_said_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install = rf"pip install --no-deps --target {tmp_path} bfcl-eval==2026\.3\.23"
    with pytest.raises(PromptError, match=rf"BFCL_v4_simple_python\.json is not there: .*{install}"):
        items(tmp_path)
    write_bfcl(tmp_path)
    (tmp_path / "bfcl_eval" / "eval_checker" / "ast_eval" / "ast_checker.py").unlink()
    with pytest.raises(PromptError, match=rf"ast_checker\.py is not there: .*{install}"):
        items(tmp_path)
    with pytest.raises(SettingError, match=r"bfcl has no subject 'simpel': choose simple"):
        items(tmp_path, "simpel")
    with pytest.raises(SettingError, match="younger than the procedure original-2023-08: choose standard"):
        items(tmp_path, procedure=Procedure.ORIGINAL_2023_08)
    monkeypatch.setattr(bfcl, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="llguidance is not installed"):
        TASK.completed(TaskPlan())
    assert Bfcl(is_constrained=False).completed(TaskPlan()).chat
