"""Transcripts of agents' runs: JSON lines that are written as it happens, read again, and replayed.

    {"model": "demo", "tools": […], "messages": […]}                         a run begins
    {"message": {"role": "assistant", …}, "finish_reason": "tool_calls"}     a reply
    {"message": {"role": "tool", …}, "arguments": "{…}", "is_error": false, "seconds": 0.1}
    {"outcome": "answered", "seconds": 2.5}                                  it ends

A run that was killed lacks its end; the file takes further runs after it.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from qwen7b.dialects import ToolDefinition, read_definitions
from qwen7b.errors import ArgumentsError, PromptError, quoted
from qwen7b.generate.reply import call_object
from qwen7b.system.appended_lines import AppendedLines
from qwen7b.system.regular_file import read_text
from qwen7b.text.messages import Message, ToolCall
from qwen7b.tools.tool_result import ReplayError, ToolFailure, ToolResult
from qwen7b.tools.toolbox import load_arguments

MAX_BYTES = 1 << 28


class Transcript:
    """A file of runs."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser()

    @contextmanager
    def recording(self) -> Iterator[Callable[[dict[str, Any]], None]]:
        """A function that adds a line, while the file is open. Raises SettingError where it cannot be written."""
        with AppendedLines(self.path, noun="the transcript") as lines:
            yield lambda line: lines.add(json.loads(json.dumps(line, default=_as_json)))

    def runs(self) -> list[list[dict[str, Any]]]:
        """The lines of each run. Raises PromptError where the file is not a transcript."""
        try:
            text = read_text(self.path, limit=MAX_BYTES)
        except (OSError, UnicodeDecodeError) as error:
            raise PromptError(f"the transcript {self.path} cannot be read: {error}") from error
        runs: list[list[dict[str, Any]]] = []
        lines = text.split("\n")
        for number, line in enumerate(lines, start=1):
            try:
                value = json.loads(line) if line else None
            except ValueError as error:
                if number == len(lines):  # it was being written when its process was killed
                    break
                raise PromptError(f"line {number} of the transcript {self.path} is not JSON: {error}") from error
            if value is None:
                continue
            begins = isinstance(value, dict) and all(isinstance(value.get(key), list) for key in ("messages", "tools"))
            if not begins and not (runs and isinstance(value, dict)):
                raise PromptError(f"line {number} of {self.path} is none of a transcript, found {quoted(value)}")
            if begins:
                runs.append([])
            runs[-1].append(value)
        if not runs:
            raise PromptError(f"the transcript {self.path} has no run: record one first")
        return runs


def read_transcript(path: str | os.PathLike[str]) -> list[Message]:
    """The conversation of a transcript's last run, to go on with.

    Calls that have no result, as the run was killed meanwhile, get one that says so. Raises PromptError.
    """
    messages = _messages(Transcript(path).runs()[-1])
    place = max((place for place, message in enumerate(messages) if message["role"] == "assistant"), default=0)
    answered = {message.get("tool_call_id") for message in messages[place + 1 :]}
    for call in messages[place].get("tool_calls", ()) if messages else ():
        if call["id"] not in answered:
            pending = ToolCall(call["function"]["name"], call["function"]["arguments"], call["id"])
            text = "Error: the program ended before the result was there"
            messages.append(ToolResult(call=pending, text=text, is_error=True).message)
    return messages


class Replay:
    """The tools of a transcript's last run: a call gives what it gave then, and nothing is run.

    Agent(qwen, tools=[Replay("run.jsonl")]).run(question)

    Calls with the same arguments give their results in the order of the record. One that is not there, or not so
    often, ends the run with a ReplayError.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        run = Transcript(path).runs()[-1]
        self.definitions: Sequence[ToolDefinition] = read_definitions(run[0]["tools"])
        self._results: dict[str, deque[tuple[str, bool]]] = defaultdict(deque)
        for line in run[1:]:
            if (message := line.get("message", {})).get("role") == "tool":
                call = ToolCall(message["name"], line["arguments"])
                with suppress(ArgumentsError):  # such a call fails again before it comes here
                    key = _key(call.name, load_arguments(call, self.definitions))
                    self._results[key].append((message["content"], line["is_error"]))

    def is_read_only(self, name: str) -> bool:
        return True

    def call(self, name: str, arguments: dict[str, Any]) -> str:
        results = self._results[_key(name, arguments)]
        if not results:
            raise ReplayError(f"the transcript has no further result of {name} with the arguments {quoted(arguments)}")
        text, is_error = results.popleft()
        if is_error:
            raise ToolFailure(text)
        return text


def described(definition: ToolDefinition) -> dict[str, Any]:
    """A definition as `read_definitions` reads it."""
    if definition.openai is not None:
        return {**definition.openai}
    described = {
        "name": definition.name,
        "description": definition.description,
        "parameters": definition.parameters,
        "name_for_human": definition.human_name,
        "args_format": definition.args_format,
        "strict": definition.strict or None,
    }
    return {name: value for name, value in described.items() if value is not None}


def _as_json(value: object) -> object:
    """What callers may have in their messages beside JSON."""
    return call_object(value) if isinstance(value, ToolCall) else str(value)


def _messages(run: Sequence[dict[str, Any]]) -> list[Message]:
    return [*run[0]["messages"], *(line["message"] for line in run if "message" in line)]


def _key(name: str, arguments: object) -> str:
    return json.dumps([name, arguments], sort_keys=True)
