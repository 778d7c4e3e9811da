"""The calls that an assistant's message makes, and which of them a result answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qwen7b.errors import PromptError, quoted


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool, as the assistant wrote it.

    name       the tool's name
    arguments  the text of its arguments, mostly a JSON object
    id         by which a result says which call it answers; "" where nothing needs one
    """

    name: str
    arguments: str
    id: str = ""


def read_calls(message: Mapping[str, Any], number: int) -> tuple[ToolCall, ...]:
    """The calls in OpenAI's `tool_calls` or the original's `function_call`; of a ToolCall too. Raises PromptError."""
    several, single = message.get("tool_calls"), message.get("function_call")
    if several and single:
        raise PromptError(f"message {number} has both 'tool_calls' and 'function_call': give one of them")
    if single:
        return (_read_call(single, number),)
    if not several:
        return ()
    if not isinstance(several, Sequence) or isinstance(several, (str, bytes)):
        raise PromptError(f"message {number} has {quoted(several)} for tool_calls: it should be a list of calls")
    calls = tuple(_read_call(call, number) for call in several)
    ids = [call.id for call in calls if call.id]
    for id in ids:
        if ids.count(id) > 1:
            raise PromptError(f"message {number} has {ids.count(id)} calls with the id {quoted(id)}: give each its own")
    return calls


def find_answered(message: Mapping[str, Any], number: int, awaited: Mapping[int, ToolCall]) -> int:
    """The key in `awaited` of the call that a result answers: by its id, else the first by its name, else the first.

    Raises PromptError where there is none.
    """
    call = message.get("call")
    if call is not None and not isinstance(call, ToolCall):
        raise PromptError(f"message {number} has {quoted(call)} for call: it should be a ToolCall")
    id = _string_or_none(message, "tool_call_id", number) if call is None else call.id
    name = _string_or_none(message, "name", number) if call is None else call.name
    if not awaited:
        raise PromptError(
            f"message {number} is a tool's result, and no call waits for one: put it after the assistant's message "
            "that calls the tool"
        )
    for key, call in awaited.items():
        if (not id or id == call.id) and (not name or name == call.name):
            return key
    wanted = " and ".join(f"the {what} {quoted(value)}" for what, value in (("id", id), ("name", name)) if value)
    waiting = ", ".join(f"{quoted(call.id)} ({call.name})" if call.id else call.name for call in awaited.values())
    raise PromptError(f"message {number} answers a call with {wanted}, but those without a result are: {waiting}")


def _string_or_none(message: Mapping[str, Any], key: str, number: int) -> str | None:
    value = message.get(key)
    if value is None or isinstance(value, str):
        return value
    raise PromptError(f"message {number} has {quoted(value)} for {key}: it should be a string")


def _read_call(call: object, number: int) -> ToolCall:
    if isinstance(call, ToolCall):
        return call
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(call, Mapping) or not isinstance(function, Mapping) or call.get("type", "function") != "function":
        raise PromptError(
            f"message {number} has the call {quoted(call)}: it should be as in "
            '{"id": "1", "type": "function", "function": {"name": "now", "arguments": "{}"}}'
        )
    name, arguments, id = function.get("name"), function.get("arguments"), call.get("id")
    if not isinstance(name, str) or not name.strip() or "\n" in name:
        raise PromptError(f"message {number} calls a tool whose name is {quoted(name)}: it should be one line of text")
    if id is not None and not isinstance(id, str):
        raise PromptError(f"message {number} calls {name} with the id {quoted(id)}: it should be a string")
    if arguments is None:
        arguments = {}
    if isinstance(arguments, Mapping):
        try:
            arguments = json.dumps(arguments, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise PromptError(f"message {number} calls {name} with arguments that are no JSON: {error}") from error
    if not isinstance(arguments, str):
        raise PromptError(
            f"message {number} calls {name} with {quoted(arguments)} for arguments: they should be a string or a "
            "dictionary"
        )
    return ToolCall(name, arguments, id or "")
