"""A transcript is read again, and replayed without a tool being run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qwen7b.errors import PromptError, SettingError
from qwen7b.text.messages import ToolCall
from qwen7b.tools import Agent, Replay, ReplayError, Tool, ToolFailure, read_transcript
from scripted import ScriptedQwen, call
from talking import user

REPLIES = [[call("add", a=1, b=2), call("add", a=1, b=2)], [ToolCall("add", "{'b': 2, 'a': 7}"), call("other")], "done"]


def recorded(path: Path) -> list[Any]:
    """The messages of a run whose tool counts its calls, fails at 7 and returns a megabyte at last."""
    numbers = iter(range(10))

    def add(a: int, b: int) -> str:
        if a == 7:
            raise ToolFailure("Error: 7 is too much")
        return f"{a + b}, call {next(numbers)}" + "x" * 10**5

    return Agent(ScriptedQwen(REPLIES), [Tool({"name": "add"}, add)], transcript=path).run("Go").messages  # type: ignore[arg-type]


def test_a_run_is_replayed_to_the_character(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    messages = recorded(path)
    for _ in range(2):
        assert Agent(ScriptedQwen(REPLIES), [Replay(path)]).run("Go").messages == messages  # type: ignore[arg-type]
    assert read_transcript(path) == messages


@pytest.mark.parametrize("other", [call("add", a=2, b=2), call("add", a=1, b=2)])
def test_what_was_not_recorded_ends_a_replay(tmp_path: Path, other: ToolCall) -> None:
    recorded(tmp_path / "run.jsonl")
    replies = [[call("add", a=1, b=2), call("add", a=1, b=2), other], "done"]
    with pytest.raises(ReplayError, match="the transcript has no further result of add with the arguments"):
        Agent(ScriptedQwen(replies), [Replay(tmp_path / "run.jsonl")]).run("Go")  # type: ignore[arg-type]


@pytest.mark.parametrize(("num_lines", "num_pending"), [(1, 0), (2, 2), (3, 1), (4, 0), (5, 2), (8, 0)])
def test_a_run_that_was_killed_goes_on(tmp_path: Path, num_lines: int, num_pending: int) -> None:
    path = tmp_path / "run.jsonl"
    recorded(path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:num_lines]) + lines[num_lines][:20])
    messages = read_transcript(path)
    pending = [message for message in messages if "the program ended" in message["content"]]
    assert len(pending) == num_pending and messages[0] == user("Go")
    assert messages[-num_pending:] == pending or not num_pending


def test_the_last_run_of_a_file_counts(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    recorded(path)
    Agent(ScriptedQwen(["Hello."]), transcript=str(path)).run("Hi")  # type: ignore[arg-type]
    assert [message["content"] for message in read_transcript(path)] == ["Hi", "Hello."]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no run"),
        ("{}\n", "line 1 of .* is none of a transcript, found {}"),
        ('{"messages": []}\n', "line 1 of .* is none of a transcript, found"),
        ('{"messages": [], "tools": []}\nnot JSON\n', "line 2 of the transcript .* is not JSON"),
        (None, "cannot be read: "),
    ],
)
def test_what_is_no_transcript_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "run.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PromptError, match=message):
        read_transcript(path)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="the transcript cannot be kept in"):
        Agent(ScriptedQwen(["Hello."]), transcript=tmp_path).run("Hi")  # type: ignore[arg-type]


def test_tools_that_take_code_are_replayed_too(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    definition = {"name": "python", "parameters": [{"name": "code"}], "args_format": "code"}
    replies = [ToolCall("python", "```py\n1 + 1\n```"), "2"]
    done = Agent(ScriptedQwen(replies), [Tool(definition, lambda code: code)], transcript=path).run("Go")  # type: ignore[arg-type]
    assert done.results[0].text == "1 + 1\n"
    assert Agent(ScriptedQwen(replies), [Replay(path)]).run("Go").messages == done.messages  # type: ignore[arg-type]


def test_calls_as_objects_are_written_in_openai_s_form(tmp_path: Path) -> None:
    path, given = tmp_path / "run.jsonl", ToolCall("now", "{}", "a")
    messages: list[Any] = [user("Hi"), {"role": "assistant", "content": "", "tool_calls": (given,)}]
    messages += [{"role": "tool", "tool_call_id": "a", "content": "3"}, user("Go on")]
    Agent(ScriptedQwen(["ok"]), transcript=path).run(messages)  # type: ignore[arg-type]
    function = {"name": "now", "arguments": "{}"}
    assert read_transcript(path)[1]["tool_calls"] == [{"id": "a", "type": "function", "function": function}]
