"""The messages of a conversation: which ones are valid, and how they divide into turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from qwen7b.errors import PromptError, quoted
from qwen7b.text.tool_calls import ToolCall as ToolCall
from qwen7b.text.tool_calls import find_answered, read_calls

Message: TypeAlias = Mapping[str, Any]
"""One message: its "role", which is "system", "user" or "assistant", and its "content", a string or text parts as in
[{"type": "text", "text": "Hello"}].

In a chat with tools the assistant's may have "tool_calls" in OpenAI's form or the original's "function_call", and then
no content; a result has the role "tool" and a "tool_call_id", or the role "function" and a "name".
"""

_KEYS = {"role", "content"}
_OTHER_KEYS: dict[str, set[str]] = {
    "system": set(),
    "user": set(),
    "assistant": {"tool_calls", "function_call"},
    "tool": {"tool_call_id", "name", "call"},
    "function": {"name"},
}


@dataclass(frozen=True, slots=True)
class ReadConversation:
    """A conversation that is to be answered, its messages in the form of `read_messages`.

    system  the system message; None where there is none
    turns   each is a user's message and all that follows up to the user's next; the last is to be answered
    """

    system: Message | None
    turns: list[list[Message]]

    @property
    def has_calls(self) -> bool:
        """Whether tools were called in it, so that only a dialect can write it, and reads the reply to it."""
        return any(message["role"] == "tool" for turn in self.turns for message in turn)


def read_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Read messages into one form, in which every content is a string.

    An assistant's message that calls tools has its calls in "tool_calls", as a tuple of `ToolCall`. A result has the
    role "tool" and in "call" the `ToolCall` that it answers; results stand in the order of their calls. Messages in
    this form stay as they are. Raises PromptError for anything that is not a message, for a result without a call, and
    for a call that has no result before the next message or the end.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes)):
        raise PromptError(f"a conversation should be a list of messages, found {quoted(messages)}")
    read: list[dict[str, Any]] = []
    awaited: dict[int, ToolCall] = {}  # by the place of the result
    for number, message in enumerate(messages, start=1):
        one = _read_message(message, number)
        if one["role"] == "tool":
            place = find_answered(message, number, awaited)
            read[place] = {**one, "call": awaited.pop(place)}
            continue
        _check_answered(awaited, f"message {number}")
        read.append(one)
        awaited = dict(enumerate(one.get("tool_calls", ()), start=len(read)))
        read += [{} for _ in awaited]
    _check_answered(awaited, "the end")
    return read


def checked_messages(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Read messages of which each is a role and a string. Raises PromptError for others, those with tools included."""
    read = read_messages(messages)
    for number, message in enumerate(read, start=1):
        if message.keys() != _KEYS:
            raise PromptError(
                f"message {number} {'is the result of' if message['role'] == 'tool' else 'calls'} a tool, which only a "
                "dialect can write: use qwen7b.tools.chat_prompt"
            )
    return read


def split_turns(messages: Sequence[Message]) -> ReadConversation:
    """Read messages as turns, each of which has a call and its result or neither.

    Raises PromptError for messages that make no conversation, or one in which there is nothing to answer.
    """
    read: list[Message] = [*read_messages(messages)]
    if not read or [message["role"] for message in read] == ["system"]:
        raise PromptError("there is nothing to answer: give at least one message whose role is 'user'")
    system = read.pop(0) if read[0]["role"] == "system" else None
    turns: list[list[Message]] = []
    for message in read:
        if message["role"] == "system":
            raise PromptError("only the first message may have the role 'system': join the system messages into one")
        if message["role"] == "user":
            turns.append([])
        elif not turns:
            raise PromptError("the conversation begins with the assistant: put a message from the user first")
        turns[-1].append(message)
    return ReadConversation(system, turns)


def _check_answered(awaited: Mapping[int, ToolCall], place: str) -> None:
    for call in awaited.values():
        id = f" (id {quoted(call.id)})" if call.id else ""
        raise PromptError(
            f"the call of {call.name}{id} has no result before {place}: give its result, or what went wrong, in a "
            "message with the role 'tool'"
        )


def _read_message(message: Message, number: int) -> dict[str, Any]:
    # Other programs write empty fields, such as "tool_calls": null; a field with a value would change the meaning.
    keys = {key for key in message if message[key] or key in _KEYS} if isinstance(message, Mapping) else set()
    role = message["role"] if "role" in keys else None
    others = _OTHER_KEYS.get(role, set()) if isinstance(role, str) else set()
    calls = read_calls(message, number) if role == "assistant" else ()
    if keys - others != _KEYS and not (calls and keys - others == {"role"}):
        raise PromptError(f"message {number} should have exactly a 'role' and a 'content', found {quoted(message)}")
    if role not in tuple(_OTHER_KEYS):
        raise PromptError(
            f"message {number} has the role {quoted(role)}: use 'system', 'user' or 'assistant', or 'tool' for a "
            "tool's result"
        )
    content = message.get("content")
    read = {
        "role": "tool" if role == "function" else role,
        "content": "" if calls and content is None else _read_content(content, number),
    }
    return {**read, "tool_calls": calls} if calls else read


def _read_content(content: object, number: int) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence) and not isinstance(content, bytes):
        return "".join(_read_part(part, number) for part in content)
    raise PromptError(
        f"message {number} has {quoted(content)} for content: it should be a string or a list of text parts"
    )


def _read_part(part: object, number: int) -> str:
    if isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type") if isinstance(part, Mapping) else part
    raise PromptError(
        f"message {number} has the part {quoted(kind)} in its content: only text can be read, as in "
        '{"type": "text", "text": "Hello"}'
    )
