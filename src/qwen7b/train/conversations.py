"""Files of conversations, as JSON or JSON lines, become checked messages; what is none is refused by its line."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from qwen7b.dialects import ToolDefinition, read_definitions
from qwen7b.errors import PromptError, Qwen7bError, SettingError, counted, quoted
from qwen7b.system.regular_file import named_text
from qwen7b.text import Message
from qwen7b.text.messages import read_messages, split_turns
from qwen7b.text.tool_calls import read_calls
from qwen7b.train.conversation_forms import read_form

T = TypeVar("T")
AWAITED = "\ufdd0"
"""The content of a result that is not there: a character that Unicode keeps out of texts."""
_SPACE = " \t\r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConversation:
    """A conversation that a model can be trained on: it ends with the assistant's message, which says something.

    messages    in the form of `read_messages`; where the last makes calls, their results have the content `AWAITED`
    tools       the tools that it offers
    place       its file and line, for messages
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolDefinition, ...]
    place: str


def read_conversations(paths: Sequence[Path]) -> Iterator[TrainingConversation]:
    """Read the conversations of files in order; warn, at the end, of messages that were left out.

    Raises SettingError where a file cannot be read or holds none, PromptError where one is not as it should be.
    """
    skipped: list[str] = []

    def read(item: object, place: str) -> TrainingConversation:
        raw = read_form(item)
        messages, tools = check_conversation(raw.messages), tuple(read_definitions(raw.tools))
        skipped.extend([place] * raw.skips_opening)
        return TrainingConversation(messages=messages, tools=tools, place=place)

    yield from read_all(paths, read, what="conversation")
    if skipped:
        warnings.warn(
            f"{counted(len(skipped), 'conversation')} began with a message of the assistant's, which was left out; the "
            f"first is in {skipped[0]}",
            stacklevel=2,
        )


def read_all(paths: Sequence[Path], read: Callable[[object, str], T], *, what: str) -> Iterator[T]:
    """Read the items of files in order; `read` is given each with its place, and `what` is what it makes of one.

    Raises SettingError where a file cannot be read or holds none, PromptError, with the place, for what `read` raises.
    """
    for path in paths:
        is_empty = True
        for line, item in _read_items(path):
            is_empty = False
            place = f"{path}, line {line}"
            try:
                one = read(item, place)
            except Qwen7bError as error:
                raise PromptError(f"{place}: {error}") from error
            yield one
        if is_empty:
            raise SettingError(f"{path} holds no {what}: give a file of JSON or JSON lines that has some")


def check_conversation(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Check that messages make a conversation with an answer. Raises PromptError."""
    checked = read_messages([*messages, *_awaited_results(messages)] if isinstance(messages, list) else messages)
    split_turns(checked)  # raises where they make no turns
    for number, message in enumerate(checked, start=1):
        if message["role"] == "assistant" and not message["content"].strip() and not message.get("tool_calls"):
            raise PromptError(
                f"message {number}, the assistant's, is empty: write the answer, or drop the conversation"
            )
    if checked[-1]["role"] != "assistant" and checked[-1]["content"] != AWAITED:
        raise PromptError(
            f"it ends without an answer, with a message of the role {checked[-1]['role']!r}: add the assistant's, or "
            "drop what follows the last one"
        )
    return tuple(checked)


def _awaited_results(messages: Sequence[Message]) -> list[Message]:
    """A result for each call that a conversation ends with, which is what the model should learn to make."""
    last = messages[-1] if messages else None
    if not isinstance(last, dict) or last.get("role") != "assistant":
        return []
    return [{"role": "tool", "content": AWAITED} for _ in read_calls(last, len(messages))]


def _read_items(path: Path) -> Iterator[tuple[int, object]]:
    """The line on which it begins, and the value, of each item of a JSON list or of a file of JSON lines.

    Raises SettingError where the file cannot be read, PromptError where it is not JSON.
    """
    text = named_text(path)
    if text.lstrip(_SPACE).startswith("["):
        yield from _list_items(text, path)
        return
    for line, written in enumerate(text.split("\n"), start=1):
        if written.strip(_SPACE):
            try:
                yield line, json.loads(written)
            except (ValueError, RecursionError) as error:
                raise PromptError(
                    f"{path}, line {line} is not JSON: {error}; write one conversation a line, or one list"
                ) from error


def _list_items(text: str, path: Path) -> Iterator[tuple[int, object]]:
    """The items of a list, read one by one, so that each has its line."""
    decoder, place, line, seen = json.JSONDecoder(), text.index("[") + 1, 1, 0

    def skip(characters: str, start: int) -> int:
        while start < len(text) and text[start] in characters:
            start += 1
        return start

    place = skip(_SPACE, place)
    while text[place : place + 1] != "]":
        line, seen = line + text.count("\n", seen, place), place
        try:
            item, end = decoder.raw_decode(text, place)
            place = skip(_SPACE, end)
            if text[place : place + 1] == ",":
                place = skip(_SPACE, place + 1)
            elif text[place : place + 1] != "]":
                raise ValueError(f"after an item there should be a comma or ], found {quoted(text[place : place + 9])}")
        except (ValueError, RecursionError) as error:
            raise PromptError(f"{path}, the item on line {line} is not JSON: {error}; mend or drop it") from error
        yield line, item
    if rest := text[place + 1 :].strip(_SPACE):
        raise PromptError(f"{path} goes on behind its list with {quoted(rest[:20])}: leave one list, or one line each")
