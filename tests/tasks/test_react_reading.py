"""Calls in ReAct replies: each case as the original's scripts of the time read it, the odd ones included."""

from __future__ import annotations

import pytest

from qwen7b.tasks.procedure import Procedure
from qwen7b.tasks.react_reading import ReactCall, calls_tool, read_call

OLD, NEW = Procedure.ORIGINAL_2023_08, Procedure.ORIGINAL_2023_12

READ = [
    ("Thought: t\nAction: Weather\nAction Input: {'b': '杭州', a: 2}", "Weather", '{"a": 2, "b": "杭州"}', None),
    ("Thought: t\nAction: Weather\nAction Input: {bad\nObservation: fine", "Weather", "{bad", ""),
    ("Action: a\nAction Input: 1\nObservation: 2\nThought: t\nAction: b\nAction Input: 3", "a", "1", None),
    ("Action Input: {}\nAction: late", "", "{}\nAction: late", ""),
    ("It is sunny there, I think.", "sunny there, I think.", "there, I think.", ""),
    ("short", "", "", None),
    ('Action: x\nAction Input: "\\ud800"', "x", '"\ufffd"', None),
    ("Action: x\nAction Input: " + "[" * 3000, "x", "[" * 3000, ""),
]


@pytest.mark.parametrize(("reply", "name", "old", "new"), READ)
def test_a_call_is_read_by_the_rules_of_the_time(reply: str, name: str, old: str, new: str | None) -> None:
    assert read_call(reply, OLD) == ReactCall(name, old)
    for procedure in (NEW, Procedure.STANDARD):
        assert read_call(reply, procedure) == ReactCall(name, old if new is None else new)


@pytest.mark.parametrize(
    ("reply", "old_needed", "old_false", "new"),
    [
        ("Thought: t\nAction: x", True, True, True),
        ("Thought: t\nAction:x", True, True, False),
        ("Action: x", True, False, False),
        ("Thought: Action: x", True, False, False),
        ("Thought: t\nFinal Answer: x", False, False, False),
    ],
)
def test_what_counts_as_a_call(reply: str, old_needed: bool, old_false: bool, new: bool) -> None:
    assert calls_tool(reply, OLD, needs_tool=True) is old_needed
    assert calls_tool(reply, OLD, needs_tool=False) is old_false
    for procedure in (NEW, Procedure.STANDARD):
        assert {calls_tool(reply, procedure, needs_tool=needs_tool) for needs_tool in (True, False)} == {new}
