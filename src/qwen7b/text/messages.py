"""The messages of a conversation: which ones are valid, and how they divide into turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from qwen7b.errors import PromptError, quoted

Message: TypeAlias = Mapping[str, Any]
"""One message: its "role", which is "system", "user" or "assistant", and its "content", a string or text parts as in
[{"type": "text", "text": "Hello"}]."""


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


_ROLES = ("system", "user", "assistant")
_KEYS = {"role", "content"}


def checked_messages(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Read each message as a role and a string. Raises PromptError for anything that is not a message."""
    if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes)):
        raise PromptError(f"a conversation should be a list of messages, found {quoted(messages)}")
    return [_read_message(message, number) for number, message in enumerate(messages, start=1)]


def split_turns(messages: Sequence[Message]) -> tuple[Message | None, list[list[Message]]]:
    """The system message, if there is one, and the turns, of which the last is to be answered.

    A turn is a user's message and all that follows up to the user's next. Raises PromptError for messages that make no
    conversation, or one in which there is nothing to answer.
    """
    read: list[Message] = [*checked_messages(messages)]
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
    return system, turns


def _read_message(message: Message, number: int) -> dict[str, str]:
    # Other programs write empty fields, such as "tool_calls": null; a field with a value would change the meaning.
    if not isinstance(message, Mapping) or {key for key in message if message[key] or key in _KEYS} != _KEYS:
        raise PromptError(f"message {number} should have exactly a 'role' and a 'content', found {quoted(message)}")
    if message["role"] not in _ROLES:
        raise PromptError(
            f"message {number} has the role {quoted(message['role'])}: use 'system', 'user' or 'assistant'"
        )
    return {"role": message["role"], "content": _read_content(message["content"], number)}


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
